/** A chain in memory whose tail says what a text goes on with, at whatever time a test likes. */
import type { FakeData } from '../../test/streams.ts'
import type { Frame, Tokens } from '../net/index.ts'
import { judge } from '../stage/frames.ts'
import type { Drafter, Guess } from './drafter.ts'
import { FakeHost, place } from './testing.ts'

export const CHAIN = [place('peer0', 0, 3), place('peer1', 3, 6), place('peer2', 6, 8)]
/** Ids of the text: few, so that it repeats itself. */
const IDS = 7

/** What follows `ids`, for ever: no two conversations go on alike. */
export function next(ids: readonly number[]): number {
  let hash = 0x811c9dc5
  for (const id of ids) hash = Math.imul(hash ^ id, 0x01000193) >>> 0
  return 1 + (((hash ^ (hash >>> 13)) >>> 0) % IDS)
}

export function textAfter(prompt: readonly number[], count: number): number[] {
  const ids = [...prompt]
  for (let drawn = 0; drawn < count; drawn++) ids.push(next(ids))
  return ids.slice(prompt.length)
}

/** All stages of a chain as one, by the frame rule. Frames and what is drawn wait until they are asked for. */
export class FakeTail {
  readonly host = new FakeHost()
  /** Frames that have come. */
  #taken = 0
  #lost = 0
  #epoch = 0
  readonly #ids: number[] = []
  /** What was drawn after the last row of this epoch, and whether a guess was wrong: nothing runs in it after that. */
  #expected: number | undefined
  #isVoid = false
  readonly #drawn: Tokens[] = []
  /** A tail of older versions draws after wrong guesses, too. */
  readonly #drawsOn: boolean
  rows = 0

  constructor(drawsOn: boolean) {
    this.#drawsOn = drawsOn
  }

  get #data(): FakeData {
    return this.host.data.at(-1)?.stream as FakeData
  }

  get hasFrame(): boolean {
    return this.host.data.length > 0 && this.#taken < this.#data.frames.length
  }

  get hasTokens(): boolean {
    return this.#drawn.length > 0
  }

  get epoch(): number {
    return this.#epoch
  }

  /** Rows that it holds. */
  get length(): number {
    return this.#ids.length
  }

  /**
   * Something is to be drawn after the next frame, and there is another one behind it. Of a prompt's frame that begins
   * an epoch, nobody can tell that it is lost where as many rows are left of an earlier epoch.
   */
  get canLose(): boolean {
    const [first, second] = this.host.data.length > 0 ? this.#data.frames.slice(this.#taken) : []
    return second !== undefined && first?.sample !== 'none'
  }

  /** The next frame is lost. */
  lose(): void {
    this.#taken += 1
    this.#lost += 1
  }

  /** Computes the next frame. */
  compute(): void {
    const frame = this.#data.frames[this.#taken] as Frame
    this.#taken += 1
    const { epoch, position, tokens, sample } = frame
    if (epoch === this.#epoch && this.#isVoid) return
    const verdict = judge({ epoch: this.#epoch, length: this.length }, frame)
    if (verdict.action === 'drop') return
    if (verdict.action === 'need') {
      if (this.#lost === 0) throw new Error(`rows at ${position} of epoch ${epoch}, after ${this.length}`)
      this.need(this.length, epoch)
      return
    }
    if (verdict.action === 'truncate') {
      this.#epoch = epoch
      this.#ids.length = position
      this.#isVoid = false
      this.#expected = undefined
    }
    const drawn: number[] = []
    for (const [row, id] of tokens.entries()) {
      const isWrong = this.#expected !== undefined && this.#expected !== id
      if (isWrong && !this.#drawsOn) {
        this.#isVoid = true
        break
      }
      this.#ids.push(id)
      this.rows += 1
      const isDrawn = sample === 'all' || (sample === 'last' && row === tokens.length - 1)
      this.#expected = isDrawn ? next(this.#ids) : undefined
      if (this.#expected !== undefined) drawn.push(this.#expected)
    }
    if (drawn.length === 0) return
    const first = sample === 'all' ? position : position + tokens.length - 1
    this.#drawn.push({ type: 'tokens', epoch, position: first, tokens: drawn })
  }

  /** The oldest draws come to the consumer. */
  tell(): void {
    this.say(this.#drawn.shift() as Tokens)
  }

  say(message: Tokens): void {
    this.host.stage('peer2').say(message)
  }

  /** A stage lacks rows from `length` on. */
  need(length: number, epoch = this.#epoch): void {
    this.host.stage('peer1').say({ type: 'need', epoch, length })
  }
}

/** Guesses right so often, at once or when it is told to. */
export class FakeDrafter implements Drafter {
  readonly #random: () => number
  readonly #share: number
  readonly #isSlow: boolean
  #answer: (() => void) | undefined
  /** Calls under way. */
  calls = 0
  mostCalls = 0
  isClosed = false

  constructor(random: () => number, share: number, isSlow: boolean) {
    this.#random = random
    this.#share = share
    this.#isSlow = isSlow
  }

  get isAsked(): boolean {
    return this.#answer !== undefined
  }

  answer(): void {
    this.#answer?.()
    this.#answer = undefined
  }

  draft(
    ids: readonly number[],
    most: number,
    signal: AbortSignal
  ): readonly Guess[] | Promise<readonly Guess[]> {
    if (!this.#isSlow) return this.#guesses(ids, most)
    this.calls += 1
    this.mostCalls = Math.max(this.mostCalls, this.calls)
    const { promise, resolve, reject } = Promise.withResolvers<readonly Guess[]>()
    this.#answer = () => {
      if (signal.aborted) reject(signal.reason)
      else resolve(this.#guesses(ids, most))
    }
    return promise.finally(() => {
      this.calls -= 1
    })
  }

  #guesses(ids: readonly number[], most: number): Guess[] {
    const line = [...ids]
    const guesses: Guess[] = []
    while (guesses.length < most && this.#random() < 0.9) {
      const token = this.#random() < this.#share ? next(line) : 1 + Math.floor(this.#random() * IDS)
      guesses.push({ token, probability: this.#random() || 0.5 })
      line.push(token)
    }
    return guesses
  }

  resample(): void {}

  async close(): Promise<void> {
    this.isClosed = true
  }
}
