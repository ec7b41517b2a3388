/** One session at one stage: frames in, the frame rule, rows to the batcher, results to the next hop. */
import type { GroupResult } from '../engine/index.ts'
import {
  type Accepted,
  bytesPerRow,
  type ControlMessage,
  type ControlStream,
  type DataReceiver,
  encodedLength,
  encodeRows,
  type Frame,
  type Linked,
  type Open,
  type RefusalCode,
  type Rewire,
  type RowCodec,
  type SamplerOptions,
  type Unlinked
} from '../net/index.ts'
import { type Computed, codeOf, type Lane } from './batcher.ts'
import { Draws } from './draws.ts'
import { judge, type Rows, rowsOf } from './frames.ts'
import type { Outlet } from './outlet.ts'
import { bounded, refused } from './refusal.ts'
import { samplerSettings } from './sampler.ts'
import type { Place, Stage } from './stage.ts'
import { outputsOf } from './take.ts'
import { TimingReports } from './timings.ts'

/** Batches that may wait per session before its sender is held up: one runs, one is ready, two are on the way. */
const WAITING_BATCHES = 4
/** A consumer whose connection broke has so long to come back; it notices within some seconds, and dials again. */
const GRACE_MS = 30_000
const MAX_UINT32 = 2 ** 32 - 1

export interface StageSessionInit {
  readonly open: Open
  readonly place: Place
  /** Undefined for the tail. */
  readonly outlet: Outlet | undefined
  readonly onComputed?: (rows: number) => void
}

export class StageSession implements Lane {
  readonly sequence: number
  readonly leaveAfter: number | undefined
  /** The consumer's peer id. */
  readonly owner: string
  readonly stage: Stage
  /** What its frames are written in, from the hop before and to the next one. */
  readonly #codec: RowCodec
  readonly #place: Place
  readonly #outlet: Outlet | undefined
  readonly #timings: TimingReports
  readonly #onComputed: StageSessionInit['onComputed']
  readonly #life = new AbortController()
  #control: ControlStream
  #grace: NodeJS.Timeout | undefined
  #receiver: DataReceiver | undefined
  #isOpen = false
  #isPaused = false
  #epoch = 0
  /** Positions admitted: computed, being computed or waiting. */
  #length = 0
  /** Positions computed. */
  #computed = 0
  /** When a frame came last, or the consumer asked for something, by performance.now(). */
  #lastAsked = performance.now()
  /** While the engine cuts the sequence, frames wait here. */
  #cutting: { readonly frames: Frame[]; readonly done: Promise<void> } | undefined
  /** See Lane. */
  sampler: number | undefined
  readonly #draws = new Draws()
  /** The epoch in which the tail drew something else than was guessed: what else comes of it is void. */
  #missed: number | undefined
  /** What was said last of the way to the next hop. */
  #way: Linked | Unlinked | undefined
  #isLeaving = false
  #ending: Promise<void> | undefined

  constructor(stage: Stage, control: ControlStream, { open, place, outlet, onComputed }: StageSessionInit) {
    this.stage = stage
    this.#control = control
    this.#timings = new TimingReports((message) => this.#say(message))
    this.#codec = open.profile.codec as RowCodec // the stage has checked it
    this.#place = place
    this.#outlet = outlet
    this.#onComputed = onComputed
    this.owner = control.peer
    this.sequence = place.sequence
    this.leaveAfter = open.head ? undefined : open.end - open.start - 1
    stage.add(this)
  }

  /** Aborted when the session begins to end. */
  get signal(): AbortSignal {
    return this.#life.signal
  }

  /** Since when nothing was asked of it, by performance.now(); undefined while there is. */
  get idleSince(): number | undefined {
    const isBusy = !this.#isOpen || this.#cutting !== undefined || this.#computed < this.#length
    return isBusy ? undefined : this.#lastAsked
  }

  /** Positions that it holds. */
  get reserved(): number {
    return this.#place.reserved
  }

  #say(message: ControlMessage): void {
    this.#control.send(message) // lost while the consumer is away: what matters is said again when it is back
  }

  async prepare(open: Open): Promise<void> {
    if (open.next !== undefined) this.#outlet?.link(open.next, 0)
    if (open.sampler !== undefined && !(await this.#setSampler(open.sampler))) return
    if (this.#ending !== undefined) return
    this.#isOpen = true
    this.#sayOpened()
    this.#holdOrResume()
  }

  #sayOpened(): void {
    const { maxRows } = this.stage.info
    this.#say({ type: 'opened', maxRows, capacity: this.#place.reserved, sampler: this.sampler })
  }

  async #setSampler(sampler: SamplerOptions): Promise<boolean> {
    try {
      const { engine } = this.stage
      this.sampler = sampler.version
      await engine.setSampler(this.sequence, samplerSettings(sampler, engine.description.context))
      return true
    } catch (error) {
      this.failed(codeOf(error), error instanceof Error ? error.message : String(error))
      return false
    }
  }

  /** What the consumer says once the session is open. */
  receive(message: ControlMessage): void {
    if (this.#ending !== undefined) return // came with the message that ended it
    if (message.type !== 'ping') this.#lastAsked = performance.now() // who needs more room is not who must go for it
    switch (message.type) {
      case 'ping':
        this.#pong(message.nonce)
        break
      case 'close':
        void this.end()
        break
      case 'rewire':
        this.#rewire(message)
        break
      case 'extend':
        this.#extend(message.reserve)
        break
      case 'resample':
        // Engine calls keep their order: rows that come after this are drawn after so.
        if (this.#outlet === undefined) void this.#setSampler(message.sampler)
        break
    }
  }

  #pong(nonce: number): void {
    const stepMicroseconds = microseconds(this.stage.batcher.predictedMs)
    const receivedBytes = this.#receiver?.bytesReceived ?? 0
    const state = { epoch: this.#epoch, length: this.#length, computed: this.#computed }
    this.#say({ type: 'pong', nonce, ...state, receivedBytes, stepMicroseconds })
  }

  #rewire({ next, drawFrom }: Rewire): void {
    if (next !== undefined) this.#outlet?.link(next, drawFrom)
  }

  #extend(reserve: number): void {
    const refusal = this.stage.extend(this.#place, reserve)
    if (refusal === undefined) this.#say({ type: 'extended', capacity: this.#place.reserved })
    else this.failed(refusal.code, refusal.message)
  }

  /** The consumer's connection is lost, maybe no more than that: the session waits for it. */
  detach(control: ControlStream): void {
    if (control !== this.#control || this.#ending !== undefined) return
    clearTimeout(this.#grace)
    this.#grace = setTimeout(() => void this.end(), GRACE_MS)
  }

  /** The consumer is back, and has not seen draws from rows at `drawFrom` on. */
  reattach(control: ControlStream, drawFrom: number): void {
    clearTimeout(this.#grace)
    const previous = this.#control
    this.#control = control
    previous.abort(new Error('the session goes on with another stream'))
    if (this.#isOpen) this.#sayOpened()
    if (this.#way !== undefined) this.#say(this.#way)
    if (this.#isLeaving) this.leave()
    for (const tokens of this.#draws.from(drawFrom)) this.#say(tokens)
  }

  linked(ticket: Uint8Array): void {
    this.#way = { type: 'linked', ticket }
    this.#say(this.#way)
  }

  unlinked(ticket: Uint8Array, message: string): void {
    this.#way = { type: 'unlinked', ticket, message: bounded(message) }
    this.#say(this.#way)
  }

  /** The next hop lacks what is no longer here: only the consumer can have it computed again. */
  lack(position: number): void {
    this.#say({ type: 'need', epoch: this.#epoch, length: position })
  }

  /** The node is about to. */
  leave(): void {
    this.#isLeaving = true
    this.#say({ type: 'leaving' })
  }

  /** The data stream from the hop before; it replaces the one before it. Resolves to what is here already. */
  async receiveFrom(receiver: DataReceiver): Promise<Accepted> {
    const previous = this.#receiver
    this.#receiver = receiver
    previous?.abort(new Error('replaced by another stream'))
    while (this.#cutting !== undefined) await this.#cutting.done // what waited may cut once more
    if (this.#receiver !== receiver || this.#ending !== undefined)
      throw new Error('replaced, or the session has ended')
    if (this.#isPaused) receiver.pause()
    const { width, maxRows } = this.stage.info
    receiver.start(
      { width, maxRows },
      {
        receive: (frame) => {
          if (this.#receiver === receiver) this.#receive(frame)
        },
        end: () => {} // the hop itself tells the consumer, or its death does
      }
    )
    this.#holdOrResume()
    return { epoch: this.#epoch, length: this.#length, maxRows }
  }

  #receive(frame: Frame): void {
    this.#lastAsked = performance.now()
    this.#admit(frame)
    this.#holdOrResume()
  }

  #admit(frame: Frame): void {
    if (this.#ending !== undefined) return
    if (this.#cutting !== undefined) {
      this.#cutting.frames.push(frame)
      return
    }
    if (frame.epoch === this.#missed) return
    const verdict = judge({ epoch: this.#epoch, length: this.#length }, frame)
    if (verdict.action === 'drop') return
    if (verdict.action === 'need') {
      // Rows from there on may be of an epoch before, and are not those that are meant.
      this.#say({ type: 'need', epoch: frame.epoch, length: Math.min(this.#length, frame.position) })
      return
    }
    const problem = this.#problem(frame)
    if (problem !== undefined) {
      this.failed('input', problem)
      return
    }
    this.#epoch = frame.epoch
    if (verdict.action === 'truncate' && verdict.length < this.#length) {
      const frames = [frame]
      this.#cutting = { frames, done: this.#truncate(verdict.length, frames) }
      return
    }
    if (this.#isWrongGuess(frame)) {
      this.#miss()
      return
    }
    this.#length = frame.position + frame.tokens.length
    this.stage.batcher.push(this, rowsOf(frame, this.stage.info.width))
  }

  /** What is wrong with a frame, beyond what its decoder has checked and the engine will. */
  #problem({ position, tokens, codec }: Frame): string | undefined {
    const { embedding } = this.stage.info
    if (codec !== (embedding ? 'none' : this.#codec)) {
      return embedding
        ? 'the first stage takes token ids'
        : `this stage takes hidden states in ${this.#codec}`
    }
    const end = position + tokens.length
    const { reserved } = this.#place
    if (end > reserved) return `position ${end} is beyond the ${reserved} reserved`
    return undefined
  }

  async #truncate(length: number, frames: readonly Frame[]): Promise<void> {
    this.#length = await this.stage.batcher.truncate(this, length)
    this.#computed = Math.min(this.#computed, this.#length)
    this.#outlet?.truncate(this.#length)
    this.#draws.truncate(this.#length)
    this.#cutting = undefined
    // Judged again: a window that no longer reaches back that far leaves nothing, and all of it is needed again.
    for (const later of frames) this.#admit(later)
    this.#holdOrResume()
  }

  /** Back-pressure: a sender that is far ahead waits. */
  #holdOrResume(): void {
    const limit = WAITING_BATCHES * this.stage.info.maxRows
    const mustWait =
      !this.#isOpen || this.#cutting !== undefined || this.stage.batcher.waitingRows(this) >= limit
    if (mustWait === this.#isPaused) return
    this.#isPaused = mustWait
    if (mustWait) this.#receiver?.pause()
    else this.#receiver?.resume()
  }

  computed({ rows, result, sampler, queueMs, computeMs }: Computed): void {
    if (this.#ending !== undefined) return
    const { epoch, position, tokens } = rows
    this.#computed = position + tokens.length
    this.#onComputed?.(tokens.length)
    const bytesOut =
      this.#outlet === undefined
        ? this.#sendTokens(rows, result, sampler)
        : this.#forward(this.#outlet, rows, result.hidden)
    const rowBytes = rows.hidden === undefined ? 0 : bytesPerRow(this.#codec, this.stage.info.width)
    this.#timings.add({
      ...{ epoch, position, rows: tokens.length, bytesOut },
      queueMicroseconds: microseconds(queueMs),
      computeMicroseconds: microseconds(computeMs),
      bytesIn: tokens.byteLength + tokens.length * rowBytes
    })
    this.#holdOrResume()
  }

  #forward(outlet: Outlet, rows: Rows, hidden: Float32Array | undefined): number {
    if (hidden === undefined) return 0
    const { epoch, position, tokens, sample } = rows
    const codec = this.#codec
    const payload = this.#encoded(hidden, tokens.length)
    if (payload === undefined) {
      const what = `the rows at position ${position} have numbers that ${codec} cannot hold`
      this.failed('codec', `${what}: this model needs another codec, such as f32`)
      return 0
    }
    const frame = { epoch, position, tokens, sample, codec, payload }
    outlet.append(frame)
    return encodedLength(frame)
  }

  /** Undefined where the codec can't hold them. */
  #encoded(hidden: Float32Array, rows: number): Uint8Array | undefined {
    if (this.#codec === 'f32') return new Uint8Array(hidden.buffer, hidden.byteOffset, hidden.byteLength)
    const width = hidden.length / rows
    const payload = new Uint8Array(rows * bytesPerRow(this.#codec, width))
    return encodeRows(this.#codec, hidden, width, payload) ? payload : undefined
  }

  #sendTokens(rows: Rows, result: GroupResult, sampler: number | undefined): number {
    if (result.sampled === undefined) return 0
    const told = this.#draws.add(rows, result, sampler)
    if (told === undefined && rows.epoch === this.#epoch && !this.#isGuess(rows)) {
      this.failed('input', `the grammar allows no token after the rows at position ${rows.position}`)
      return 0
    }
    if (told !== undefined) this.#say(told)
    const drawn = told?.tokens.length ?? 0
    const next = this.stage.batcher.next(this)
    const isMiss = drawn < outputsOf(rows) || (next !== undefined && this.#isWrongGuess(next))
    if (isMiss && rows.epoch === this.#epoch) this.#miss()
    return drawn * Int32Array.BYTES_PER_ELEMENT
  }

  /** Whether rows were sent on the guess that something else would be drawn before them. */
  #isWrongGuess(rows: Pick<Frame, 'epoch' | 'position' | 'tokens' | 'sample'>): boolean {
    return rows.sample === 'all' && this.#draws.differ(rows)
  }

  /** The first of these rows may be none of the answer, so that nothing has to follow it. */
  #isGuess(rows: Rows): boolean {
    const { endTokens } = this.stage.engine.description
    return this.#draws.differ(rows) || (rows.sample === 'all' && endTokens.includes(rows.tokens[0] as number))
  }

  /** A guess was wrong: what waits or comes behind it is void. The consumer will raise the epoch. */
  #miss(): void {
    this.#missed = this.#epoch
    this.stage.batcher.discard(this)
    this.#length = this.#computed
  }

  /** Tells the consumer why, and ends. */
  failed(code: RefusalCode, message: string): void {
    if (this.#ending !== undefined) return
    this.#say(refused({ code, message }))
    void this.end()
  }

  /** Frees at once what the session holds here; resolves when its streams have ended, too. */
  end(): Promise<void> {
    if (this.#ending !== undefined) return this.#ending
    const ended = Promise.withResolvers<void>()
    this.#ending = ended.promise // before the rest, which may call back
    clearTimeout(this.#grace)
    this.stage.remove(this, this.#place)
    this.#life.abort()
    this.#timings.flush()
    this.#receiver?.abort(new Error('the session has ended'))
    void Promise.all([this.#outlet?.close(), this.#control.close()]).then(() => ended.resolve())
    return this.#ending
  }
}

function microseconds(ms: number): number {
  return Math.min(Math.round(ms * 1000), MAX_UINT32)
}
