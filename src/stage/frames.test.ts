import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { encodeRows, type SampleMode } from '../net/index.ts'
import { type FrameState, type FrameVerdict, judge, type Rows, rowsOf, splitRows } from './frames.ts'

const SEED = 20_260_101

interface Sent {
  readonly epoch: number
  readonly follows: number
  readonly position: number
  readonly tokens: Int32Array
  /** The epochs of the rows before it, as they are meant. */
  readonly before: readonly number[]
}

/**
 * A sender's life: it sends rows, and now and then begins a new epoch at an earlier position. What it sends holds
 * the epoch in every id, so that a receiver's rows tell where they came from.
 */
const sentFrames = fc
  .array(fc.record({ rows: fc.integer({ min: 1, max: 5 }), back: fc.option(fc.nat(12), { freq: 4 }) }), {
    minLength: 1,
    maxLength: 20
  })
  .map((steps) => {
    let epoch = 0
    const epochs: number[] = []
    return steps.map(({ rows, back }): Sent => {
      if (back !== null) {
        epoch += 1 + (back % 3)
        epochs.length = Math.max(0, epochs.length - back)
      }
      const before = [...epochs]
      const tokens = new Int32Array(rows).fill(epoch)
      epochs.push(...tokens)
      return { epoch, follows: before.at(-1) ?? 0, position: before.length, tokens, before }
    })
  })

/** Frames as a bad network and retries bring them: some twice, some late, some never. */
const receivedFrames = sentFrames.chain((sent) =>
  fc
    .array(fc.nat(sent.length - 1), { maxLength: 60 })
    .map((order) => order.map((index) => sent[index] as Sent))
)

/** A stage as the rule has it; `log` is the epoch of each row that it holds. */
class Model {
  state: FrameState = { epoch: 0, length: 0 }
  log: number[] = []
  readonly ran = new Map<number, Set<number>>()

  receive(frame: Sent): string {
    const { epoch, position, tokens } = frame
    const verdict = judge(this.state, frame)
    if (verdict.action === 'drop' || verdict.action === 'need') return verdict.action
    if (verdict.action === 'truncate') this.log.length = verdict.length
    expect(position).toBe(this.log.length)
    expect(this.log).toEqual(frame.before)
    const inEpoch = this.ran.get(epoch) ?? new Set()
    this.ran.set(epoch, inEpoch)
    for (const [row, token] of tokens.entries()) {
      expect(inEpoch.has(position + row)).toBe(false)
      inEpoch.add(position + row)
      this.log.push(token)
    }
    this.state = { epoch, length: this.log.length }
    return verdict.action
  }
}

describe('judge', () => {
  test('runs no row twice in an epoch, leaves no gap, and never goes back to an older epoch', () => {
    fc.assert(
      fc.property(receivedFrames, (frames) => {
        const model = new Model()
        for (const frame of frames) {
          const before = model.state
          model.receive(frame)
          expect(model.state.epoch).toBeGreaterThanOrEqual(before.epoch)
          expect(model.state.length).toBe(model.log.length)
          // What an epoch rewrote is never followed by rows of an older one.
          expect(model.log).toEqual(model.log.toSorted((a, b) => a - b))
        }
      }),
      { seed: SEED }
    )
  })

  test('all that was sent in order arrives as it was meant, whatever is repeated between', () => {
    fc.assert(
      fc.property(sentFrames, fc.array(fc.nat()), (sent, repeats) => {
        const model = new Model()
        const meant: number[] = []
        for (const [index, frame] of sent.entries()) {
          meant.length = frame.position
          meant.push(...frame.tokens)
          expect(model.receive(frame)).not.toMatch(/drop|need/)
          const again = sent[(repeats[index] ?? 0) % (index + 1)] as Sent
          const isCurrent = again.epoch === model.state.epoch
          expect(model.receive(again)).toBe('drop')
          if (isCurrent) expect(model.log).toEqual(meant)
        }
        expect(model.log).toEqual(meant)
      }),
      { seed: SEED }
    )
  })

  test('needs what is missing, in its own epoch and in a newer one', () => {
    const state = { epoch: 2, length: 10 }
    const judged = (epoch: number, position: number, follows = 2): FrameVerdict =>
      judge(state, { epoch, follows, position, tokens: new Int32Array(4) })
    expect(judged(2, 11)).toEqual({ action: 'need' })
    expect(judged(3, 11)).toEqual({ action: 'need' })
    // A part of it is here and a part is not: rows are never cut out of the middle of a frame.
    expect(judged(2, 8)).toEqual({ action: 'need' })
    expect(judged(3, 8)).toEqual({ action: 'truncate', length: 8 })
    // There are as many rows before it, but not those.
    expect(judged(3, 8, 3)).toEqual({ action: 'need' })
    expect(judged(5, 8, 3)).toEqual({ action: 'need' })
    expect(judged(2, 6)).toEqual({ action: 'drop' })
    expect(judged(1, 10, 1)).toEqual({ action: 'drop' })
  })
})

describe('splitRows', () => {
  const someRows = fc
    .record({
      count: fc.integer({ min: 1, max: 30 }),
      width: fc.integer({ min: 0, max: 4 }),
      position: fc.nat(1000),
      sample: fc.constantFrom<SampleMode>('none', 'last', 'all')
    })
    .map(({ count, width, position, sample }): Rows => {
      const tokens = Int32Array.from({ length: count }, (_, index) => index)
      const hidden = Float32Array.from({ length: count * width }, (_, index) => index)
      return { epoch: 1, position, tokens, sample, ...(width === 0 ? {} : { hidden }) }
    })

  /** Positions after which a token is drawn. */
  function draws({ position, tokens, sample }: Rows): number[] {
    if (sample === 'none') return []
    const all = Array.from(tokens, (_, index) => position + index)
    return sample === 'all' ? all : all.slice(-1)
  }

  test('keeps ids, hidden states, positions and where tokens are drawn', () => {
    fc.assert(
      fc.property(
        someRows,
        fc.array(fc.integer({ min: 1, max: 8 }), { minLength: 30, maxLength: 30 }),
        (rows, cuts) => {
          const parts: Rows[] = []
          let left: Rows | undefined = rows
          for (const cut of cuts) {
            if (left === undefined) break
            const [first, rest]: [Rows, Rows | undefined] = splitRows(left, cut)
            parts.push(first)
            left = rest
          }
          expect(left).toBeUndefined()
          expect(parts.flatMap(({ tokens }) => [...tokens])).toEqual([...rows.tokens])
          expect(parts.flatMap(({ hidden }) => [...(hidden ?? [])])).toEqual([...(rows.hidden ?? [])])
          expect(parts.flatMap(draws)).toEqual(draws(rows))
          let position = rows.position
          for (const part of parts) {
            expect(part.position).toBe(position)
            expect(part.epoch).toBe(rows.epoch)
            position += part.tokens.length
          }
        }
      ),
      { seed: SEED }
    )
  })
})

describe('rowsOf', () => {
  const tokens = Int32Array.of(4, 5)
  const hidden = Float32Array.of(0, 1.5, -2, 3)
  const frame = { epoch: 1, follows: 1, position: 7, tokens, sample: 'last' } as const
  const rows = { epoch: 1, position: 7, tokens, sample: 'last' }

  test('reads floats in place', () => {
    const payload = new Uint8Array(hidden.buffer)
    const got = rowsOf({ ...frame, codec: 'f32', payload }, 2)
    expect(got).toEqual({ ...rows, hidden })
    expect(got.hidden?.buffer).toBe(payload.buffer)
    expect(rowsOf({ ...frame, codec: 'none', payload: new Uint8Array(0) }, 2)).toEqual(rows)
  })

  test.each(['f16', 'bf16'] as const)('decodes %s', (codec) => {
    const payload = new Uint8Array(8)
    encodeRows(codec, hidden, 2, payload)
    expect(rowsOf({ ...frame, codec, payload }, 2)).toEqual({ ...rows, hidden })
  })

  test('decodes q8, each row by its own scale', () => {
    const payload = new Uint8Array(8)
    encodeRows('q8', hidden, 2, payload)
    const got = rowsOf({ ...frame, codec: 'q8', payload }, 2).hidden as Float32Array
    hidden.forEach((value, at) => {
      expect(got[at]).toBeCloseTo(value, 1)
    })
  })
})
