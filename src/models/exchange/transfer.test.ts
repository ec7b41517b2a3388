import { afterEach, describe, expect, test } from 'vitest'
import { ShoalError } from '../../common/index.ts'
import { ManualClock, randomOf } from '../../swarm/testing-clock.ts'
import type { PartName } from '../content.ts'
import type { PieceReceived, PieceSource } from '../contract.ts'
import type { TransferInit } from './progress.ts'
import { MemoryModel, testModel } from './testing.ts'
import { TokenBucket } from './token-bucket.ts'
import { Transfer } from './transfer.ts'

const model = await testModel({ blocks: 2, blockBytes: 160 * 1024 })
const { pieces, allParts } = model
const all = Array.from({ length: pieces.count }, (_, index) => index)
const clock = new ManualClock()

interface Asked {
  readonly index: number
  give(bytes?: Uint8Array): void
  giveUp(): void
  readonly signal: AbortSignal
}

/** Answers at once, or (`byHand`) when told. */
class FakeSource implements PieceSource {
  readonly name: string
  readonly kind: PieceSource['kind']
  readonly asked: Asked[] = []
  isClosed = false
  byHand = false
  bad = false
  readonly #has: (index: number) => boolean

  constructor(
    name: string,
    kind: PieceSource['kind'] = 'peer',
    has: (index: number) => boolean = () => true
  ) {
    this.name = name
    this.kind = kind
    this.#has = has
  }

  get indices(): number[] {
    return this.asked.map(({ index }) => index)
  }

  has(index: number): boolean {
    return this.#has(index)
  }

  async fetch(
    indices: readonly number[],
    onPiece: (piece: PieceReceived) => void,
    signal: AbortSignal
  ): Promise<void> {
    await Promise.all(indices.map((index) => this.#one(index, onPiece, signal)))
    signal.throwIfAborted()
  }

  #one(index: number, onPiece: (piece: PieceReceived) => void, signal: AbortSignal): Promise<void> {
    return new Promise((resolve) => {
      const good = model.content[index] as Uint8Array
      const give = (bytes = this.bad ? good.map((byte) => byte ^ 1) : good): void => {
        onPiece({ index, bytes })
        resolve()
      }
      signal.addEventListener('abort', () => resolve())
      this.asked.push({ index, give, giveUp: resolve, signal })
      if (!this.byHand) clock.after(1, () => give())
    })
  }

  async close(): Promise<void> {
    this.isClosed = true
  }
}

const running: AbortController[] = []

function begin(
  sources: readonly PieceSource[],
  init: Partial<TransferInit> = {},
  stored = new MemoryModel(model)
): { stored: MemoryModel; transfer: Transfer; done: Promise<void>; abort: AbortController } {
  const transfer = new Transfer({ model: stored, clock, random: randomOf(7) }, { parts: allParts, ...init })
  for (const source of sources) transfer.add(source)
  const abort = new AbortController()
  running.push(abort)
  const done = transfer.run(abort.signal)
  done.catch(() => {}) // looked at by the test, later
  return { stored, transfer, done, abort }
}

afterEach(() => {
  for (const abort of running.splice(0)) abort.abort()
})

/** Passes time until it is over. */
async function over(done: Promise<void>, ms = 200_000): Promise<void> {
  let isOver = false
  const noted = done.finally(() => {
    isOver = true
  })
  noted.catch(() => {})
  for (let passed = 0; !isOver && passed < ms; passed += 50) await clock.advance(50)
  await noted
}

describe('a transfer', () => {
  test('takes pieces from all sources, each once', async () => {
    const sources = [new FakeSource('a'), new FakeSource('b'), new FakeSource('c')]
    const { stored, done, transfer } = begin(sources)
    await over(done)
    expect(stored.missing(allParts)).toEqual([])
    expect(sources.flatMap(({ indices }) => indices).sort((a, b) => a - b)).toEqual(all)
    for (const { asked } of sources) expect(asked.length).toBeGreaterThan(0)
    expect(transfer.progress).toMatchObject({ pieces: all.length, totalPieces: all.length })
  })

  test('fetches what is missing of its parts only', async () => {
    const stored = new MemoryModel(model, (index) => index % 3 === 0)
    const parts = new Set<PartName>(['block-1'])
    const missing = stored.missing(parts)
    const source = new FakeSource('a')
    await over(begin([source], { parts }, stored).done)
    expect(source.indices.sort((a, b) => a - b)).toEqual(missing)
  })

  test('takes the rarest first', async () => {
    const rare = new Set(all.slice(-3))
    const whole = new FakeSource('whole')
    const others = [1, 2].map((each) => new FakeSource(String(each), 'peer', (index) => !rare.has(index)))
    await over(begin([whole, ...others]).done)
    expect(new Set(whole.indices.slice(0, 3))).toEqual(rare)
  })

  test('drops who gives a bad piece, and fetches it elsewhere', async () => {
    const [good, bad] = [new FakeSource('good'), new FakeSource('bad')]
    bad.bad = true
    const dropped: string[] = []
    const { stored, done } = begin([bad, good], { onBadSource: ({ name }) => dropped.push(name) })
    await over(done)
    expect(dropped).toEqual(['bad'])
    expect(bad.isClosed).toBe(true)
    for (const index of all) expect(stored.bytes[index]).toEqual(model.content[index])
  })

  test('asks others for what a source that stalls was asked for', async () => {
    const [good, silent] = [new FakeSource('good', 'peer', (index) => index > 1), new FakeSource('silent')]
    silent.byHand = true
    const { done, transfer } = begin([silent, good])
    await clock.advance(4_000)
    expect(silent.asked.every(({ signal, index }) => signal.aborted === index > 1)).toBe(true) // asked of another
    await clock.advance(2_000)
    expect(silent.asked.every(({ signal }) => signal.aborted)).toBe(true)
    transfer.add(new FakeSource('late'))
    await over(done)
  })

  test('asks another for the last ones, and cancels what is not needed any more', async () => {
    const slow = new FakeSource('slow')
    slow.byHand = true
    const { done, transfer } = begin([slow])
    await clock.advance(0)
    const quick = new FakeSource('quick')
    transfer.add(quick)
    await over(done, 2_000)
    expect(quick.indices.length).toBe(all.length)
    expect(slow.asked.every(({ signal }) => signal.aborted)).toBe(true)
  })

  test('leaves a remote file alone for what peers have, and takes from it what they lack', async () => {
    const peer = new FakeSource('peer', 'peer', (index) => index < 10)
    const http = new FakeSource('http', 'http')
    await over(begin([peer, http]).done)
    expect(http.indices.sort((a, b) => a - b)).toEqual(all.slice(10))
  })

  test('takes from a remote file too when peers are slow', async () => {
    const [peer, http] = [new FakeSource('peer'), new FakeSource('http', 'http')]
    peer.byHand = true
    const { done } = begin([peer, http])
    await clock.advance(2_000)
    expect(http.asked).toEqual([])
    await over(done)
  })

  test('does not ask again at once for what a source gave up on', async () => {
    const source = new FakeSource('a')
    source.byHand = true
    begin([source])
    await clock.advance(0)
    const [first] = source.asked
    first?.giveUp()
    await clock.advance(5_000)
    expect(source.indices.filter((index) => index === first?.index)).toHaveLength(1)
  })

  test('bounds what is in flight', async () => {
    const sources = ['a', 'b', 'c'].map((name) => new FakeSource(name))
    for (const source of sources) source.byHand = true
    begin(sources, { maxBytesInFlight: 3 * pieces.pieceBytes })
    await clock.advance(0)
    expect(sources.flatMap(({ indices }) => indices).length).toBeLessThanOrEqual(4)
  })

  test('keeps to its cap, and takes nobody for late for that', async () => {
    const bytes = all.reduce((sum, index) => sum + pieces.at(index).byteLength, 0)
    const bucket = new TokenBucket(clock, bytes / 600)
    const stored = new MemoryModel(model)
    const init = { parts: allParts }
    const transfer = new Transfer({ model: stored, clock, random: randomOf(7), bucket }, init)
    transfer.add(new FakeSource('a'))
    transfer.add(new FakeSource('b', 'http'))
    const begun = clock.now()
    await over(transfer.run(), 1_000_000)
    const seconds = (clock.now() - begun) / 1_000
    // What was asked for last is not waited for.
    expect(seconds).toBeGreaterThan(600 * 0.6)
    expect(seconds).toBeLessThan(620)
  })

  test('ends with the disk’s error', async () => {
    const stored = new MemoryModel(model)
    stored.failure = new ShoalError('DISK', 'the disk is full')
    await expect(over(begin([new FakeSource('a')], {}, stored).done)).rejects.toBe(stored.failure)
  })

  test('waits for sources, and then says what nobody has', async () => {
    const without = new FakeSource('a', 'peer', (index) => pieces.at(index).item.part !== 'block-1')
    const { done, stored } = begin([without], { deadlineMs: 10_000 })
    await clock.advance(9_000)
    expect(stored.missing(new Set(['block-0']))).toEqual([])
    await expect(over(done)).rejects.toMatchObject({
      code: 'UNAVAILABLE',
      message: expect.stringContaining('10 pieces (of block-1)')
    })
  })

  test('ends when it is told to', async () => {
    const source = new FakeSource('a')
    source.byHand = true
    const { done, abort } = begin([source])
    await clock.advance(10)
    abort.abort(new Error('enough'))
    await expect(done).rejects.toThrow('enough')
    expect(source.asked.every(({ signal }) => signal.aborted)).toBe(true)
    expect(source.isClosed).toBe(false)
  })

  test('takes what nobody has hashed from its source, and not from peers', async () => {
    const unhashed = { ...model.manifest, pieces: undefined }
    const stored = Object.assign(new MemoryModel(model), { manifest: unhashed, missing: () => [0, 1] })
    const [peer, http] = [new FakeSource('peer'), new FakeSource('http', 'http', (index) => index === 0)]
    const { done } = begin([peer, http], { deadlineMs: 1_000 }, stored)
    await expect(over(done)).rejects.toMatchObject({ code: 'UNAVAILABLE' })
    expect(peer.asked).toEqual([])
    expect(http.indices).toEqual([0])
    expect(stored.has(0)).toBe(true)
  })

  test('needs nobody where all is there', async () => {
    await begin([], {}, new MemoryModel(model, () => true)).done
  })
})
