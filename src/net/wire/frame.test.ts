import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { frame as anyFrame } from './arbitraries.ts'
import { bytesPerRow, ROW_CODECS } from './codec.ts'
import { WireError } from './errors.ts'
import { checkReceived, encodedLength, encodeFrame, FrameDecoder } from './frame.ts'
import type { Frame } from './types.ts'

const SEED = 1
const WIDTH = 12
const MAX_ROWS = 6
const LIMITS = { width: WIDTH, maxRows: MAX_ROWS }
/** In f32, its id among them. */
const ROW_BYTES = 4 + WIDTH * 4

const FRAME: Frame = {
  epoch: 3,
  follows: 2,
  position: 7,
  tokens: Int32Array.of(1, 2),
  sample: 'last',
  codec: 'f32',
  payload: new Uint8Array(2 * WIDTH * 4).fill(9)
}

function bytesOf(frames: Frame[]): Uint8Array {
  return Uint8Array.from(frames.flatMap((frame) => [...encodeFrame(frame).subarray()]))
}

function decodeAll(bytes: Uint8Array, cuts: number[] = []): { frames: Frame[]; isWhole: boolean } {
  const decoder = new FrameDecoder(LIMITS)
  const frames: Frame[] = []
  const ends = [...cuts.map((cut) => cut % (bytes.length + 1)).sort((a, b) => a - b), bytes.length]
  let start = 0
  for (const end of ends) {
    decoder.push(bytes.subarray(start, end))
    for (let frame = decoder.next(); frame; frame = decoder.next()) frames.push(frame)
    start = end
  }
  return { frames, isWhole: decoder.isBetweenFrames }
}

/** A frame's bytes with one place changed. */
function patched(change: (view: DataView) => void): Uint8Array {
  const bytes = bytesOf([FRAME])
  change(new DataView(bytes.buffer))
  return bytes
}

describe('frames', () => {
  test('come back as they were, however the bytes are cut', () => {
    const frames = fc.array(anyFrame(WIDTH, MAX_ROWS), { minLength: 1, maxLength: 4 })
    const property = fc.property(frames, fc.array(fc.nat(), { maxLength: 30 }), (sent, cuts) => {
      const { frames: received, isWhole } = decodeAll(bytesOf(sent), cuts)
      expect(received).toEqual(sent)
      expect(isWhole).toBe(true)
    })
    fc.assert(property, { seed: SEED, numRuns: 500 })
  })

  test('byte by byte', () => {
    const bytes = bytesOf([FRAME, FRAME])
    expect(decodeAll(bytes, [...bytes.keys()]).frames).toEqual([FRAME, FRAME])
  })

  test('have numbers that a Float32Array can view', () => {
    const [frame] = decodeAll(bytesOf([FRAME]), [21]).frames
    expect(frame!.payload.byteOffset % 4).toBe(0)
    expect(new Float32Array(frame!.payload.buffer, frame!.payload.byteOffset, 2 * WIDTH)).toHaveLength(
      2 * WIDTH
    )
  })

  test('cost 24 bytes besides the row', () => {
    expect(encodedLength({ ...FRAME, tokens: Int32Array.of(1), payload: new Uint8Array(WIDTH * 4) })).toBe(
      24 + WIDTH * 4
    )
  })

  test('are not copied when they are written', () => {
    const parts = [...encodeFrame(FRAME)]
    expect(parts[1]!.buffer).toBe(FRAME.payload.buffer)
  })

  test('that are cut off are noticed', () => {
    expect(decodeAll(bytesOf([FRAME]).subarray(0, -1))).toEqual({ frames: [], isWhole: false })
  })
})

describe('payloads that came without bytes between', () => {
  const { tokens } = FRAME
  test.each(['none', ...ROW_CODECS] as const)('are as long as rows of %s', (codec) => {
    const payload = new Uint8Array(2 * bytesPerRow(codec, WIDTH))
    const frame = { ...FRAME, codec, payload }
    expect(checkReceived(frame, LIMITS)).toBe(frame)
    const longer = { ...frame, payload: new Uint8Array(payload.byteLength + 2) }
    expect(() => checkReceived(longer, LIMITS)).toThrow(expect.objectContaining({ code: 'MALFORMED' }))
    expect(() => checkReceived(frame, { ...LIMITS, maxRows: tokens.length - 1 })).toThrow(
      expect.objectContaining({ code: 'TOO_LARGE' })
    )
  })

  test('are aligned', () => {
    const payload = new Uint8Array(2 * WIDTH * 4 + 1).subarray(1).fill(7)
    const aligned = checkReceived({ ...FRAME, payload }, LIMITS)
    expect(aligned.payload.byteOffset % 4).toBe(0)
    expect(aligned.payload).toEqual(payload)
  })
})

describe('what peers may send', () => {
  test('random bytes are refused with a WireError or wait for more', () => {
    const property = fc.property(fc.uint8Array({ minLength: 20, maxLength: 100 }), (bytes) => {
      try {
        decodeAll(bytes)
      } catch (error) {
        expect(error).toBeInstanceOf(WireError)
      }
    })
    fc.assert(property, { seed: SEED, numRuns: 3_000 })
  })

  test('mutated headers are refused with a WireError or are a frame', () => {
    let refused = 0
    const change = fc.tuple(fc.nat(23), fc.nat(255))
    const property = fc.property(anyFrame(WIDTH, MAX_ROWS), change, (frame, [at, value]) => {
      const bytes = bytesOf([frame])
      bytes[at] = value
      try {
        decodeAll(bytes)
      } catch (error) {
        expect(error).toBeInstanceOf(WireError)
        refused++
      }
    })
    fc.assert(property, { seed: SEED, numRuns: 3_000 })
    expect(refused).toBeGreaterThan(1_000)
  })

  const cases: [string, (view: DataView) => void, string, string | undefined][] = [
    ['another version', (view) => view.setUint8(4, 1), 'VERSION', undefined],
    ['an unknown codec', (view) => view.setUint8(5, 9), 'INVALID', 'codec'],
    ['an unknown sample mode', (view) => view.setUint8(6, 3), 'INVALID', 'sample'],
    ['no rows', (view) => view.setUint32(0, 16, true), 'MALFORMED', 'length'],
    ['less than a head', (view) => view.setUint32(0, 3, true), 'MALFORMED', 'length'],
    ['half a row', (view) => view.setUint32(0, 16 + ROW_BYTES / 2, true), 'MALFORMED', 'length'],
    ['millions of rows', (view) => view.setUint32(0, 16 + 2 ** 26 * ROW_BYTES, true), 'TOO_LARGE', 'length'],
    ['a length of 4 GiB', (view) => view.setUint32(0, 0xffffffff, true), 'MALFORMED', 'length'],
    ['an epoch after a later one', (view) => view.setUint32(16, 4, true), 'INVALID', 'follows'],
    ['a position beyond 31 bits', (view) => view.setUint32(12, 0x7fffffff, true), 'INVALID', 'position'],
    ['a negative token id', (view) => view.setInt32(20, -1, true), 'INVALID', 'tokens']
  ]
  test.each(cases)('%s is refused', (_, change, code, field) => {
    expect(() => decodeAll(patched(change))).toThrow(expect.objectContaining({ code, field }))
  })

  test('a frame is refused at its header, before its body has come', () => {
    const length = 16 + (MAX_ROWS + 1) * ROW_BYTES
    const header = patched((view) => view.setUint32(0, length, true)).subarray(0, 20)
    expect(() => decodeAll(header)).toThrow(expect.objectContaining({ code: 'TOO_LARGE' }))
  })
})

describe('encoding', () => {
  const cases: [string, Partial<Frame>][] = [
    ['no rows', { tokens: new Int32Array(0) }],
    ['a payload without codec', { codec: 'none' }],
    ['a codec without payload', { payload: new Uint8Array(0) }],
    ['half a row', { payload: new Uint8Array(12) }],
    ['half a number', { codec: 'f16', payload: new Uint8Array(2 * 3) }],
    ['a scale without numbers', { codec: 'q8', payload: new Uint8Array(2 * 36) }],
    ['rows of different lengths', { codec: 'q8', payload: new Uint8Array(2 * 34 + 1) }],
    ['a negative epoch', { epoch: -1 }],
    ['an epoch after a later one', { follows: 4 }],
    ['a position beyond 31 bits', { position: 2 ** 31 - 2 }]
  ]
  test.each(cases)('%s throws', (_, change) => {
    expect(() => encodeFrame({ ...FRAME, ...change })).toThrow(expect.objectContaining({ code: 'INVALID' }))
  })
})
