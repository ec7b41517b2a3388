/** One session at one stage: frames in, the frame rule, rows to the batcher, results to the next hop. */
import type { SamplerSettings } from '../engine/index.ts'
import {
  type ControlStream,
  type DataReceiver,
  type DataSender,
  encodedLength,
  type Frame,
  type Open,
  type RefusalCode,
  type SamplerOptions
} from '../net/index.ts'
import type { Computed, Lane } from './batcher.ts'
import { judge, type Rows, rowsOf } from './frames.ts'
import type { Place, Stage } from './stage.ts'
import { TimingReports } from './timings.ts'

/** Batches that may wait per session before its sender is held up: one runs, one is ready, two are on the way. */
const WAITING_BATCHES = 4

export class StageSession implements Lane {
  readonly sequence: number
  readonly leaveAfter: number | undefined
  readonly #stage: Stage
  readonly #control: ControlStream
  readonly #place: Place
  readonly #isTail: boolean
  #next: DataSender | undefined
  readonly #capacity: number
  #receiver: DataReceiver | undefined
  #epoch = 0
  /** Positions admitted: computed, being computed or waiting. */
  #length = 0
  /** While the engine cuts the sequence, frames wait here. */
  #cutting: Frame[] | undefined
  #held = false
  #ending: Promise<void> | undefined
  readonly #timings: TimingReports
  readonly #whenEnded = Promise.withResolvers<void>()

  constructor(stage: Stage, control: ControlStream, place: Place, open: Open) {
    this.#stage = stage
    this.#control = control
    this.#timings = new TimingReports(control)
    this.#place = place
    this.#isTail = open.head
    this.#capacity = place.reserved
    this.sequence = place.sequence
    this.leaveAfter = open.head ? undefined : open.end - open.start - 1
    stage.batcher.add(this)
  }

  /** Resolves when everything is freed. */
  get ended(): Promise<void> {
    return this.#whenEnded.promise
  }

  /** The data stream to the hop after. */
  sendTo(next: DataSender): void {
    this.#next = next
    if (this.#ending !== undefined) next.abort(new Error('the session has ended'))
    void next.closed.then((error) => {
      if (this.#ending === undefined)
        this.failed('next', `the next hop is gone: ${error?.message ?? 'it closed'}`)
    })
  }

  opened(): void {
    if (this.#ending !== undefined) return
    this.#control.send({ type: 'opened', maxRows: this.#stage.info.maxRows, capacity: this.#capacity })
  }

  /** The data stream from the hop before. A second one (a new hop before) replaces the first. */
  receiveFrom(receiver: DataReceiver): void {
    const previous = this.#receiver
    this.#receiver = receiver
    previous?.abort(new Error('replaced by another stream with the same ticket'))
    const { width, maxRows } = this.#stage.info
    receiver.start(
      { width, maxRows },
      {
        receive: (frame) => this.#receive(frame),
        end: () => {} // the consumer hears of a lost hop from the hop itself, and decides
      }
    )
  }

  #receive(frame: Frame): void {
    if (this.#ending !== undefined) return
    if (this.#cutting !== undefined) {
      this.#cutting.push(frame)
      return
    }
    const verdict = judge({ epoch: this.#epoch, length: this.#length }, frame)
    if (verdict.action === 'drop') return
    if (verdict.action === 'need') {
      this.#control.send({ type: 'need', epoch: this.#epoch, length: this.#length })
      return
    }
    const problem = this.#problem(frame)
    if (problem !== undefined) {
      this.failed('input', problem)
      return
    }
    this.#epoch = frame.epoch
    if (verdict.action === 'truncate' && verdict.length < this.#length) {
      void this.#truncate(verdict.length, frame)
      return
    }
    this.#push(frame)
  }

  /** What is wrong with a frame, beyond what its decoder has checked. */
  #problem({ position, tokens, codec }: Frame): string | undefined {
    const { embedding } = this.#stage.info
    if ((codec === 'none') !== embedding) {
      return embedding ? 'the first stage takes token ids' : 'this stage takes hidden states'
    }
    const end = position + tokens.length
    if (end > this.#capacity) return `position ${end} is beyond the ${this.#capacity} reserved`
    return undefined
  }

  #push(frame: Frame): void {
    const rows = rowsOf(frame)
    if (typeof rows === 'string') {
      this.failed('input', rows)
      return
    }
    this.#length = frame.position + frame.tokens.length
    this.#stage.batcher.push(this, rows)
    this.#holdOrResume()
  }

  async #truncate(length: number, frame: Frame): Promise<void> {
    this.#cutting = []
    const left = await this.#stage.batcher.truncate(this, length)
    const waiting = this.#cutting
    this.#cutting = undefined
    this.#length = left
    if (this.#ending !== undefined) return
    // A window that no longer reaches back that far leaves nothing: the frame is judged again.
    if (left === length) this.#push(frame)
    else this.#receive(frame)
    for (const later of waiting) this.#receive(later)
  }

  /** Back-pressure: a sender that is far ahead waits. */
  #holdOrResume(): void {
    const limit = WAITING_BATCHES * this.#stage.info.maxRows
    const isFull = this.#stage.batcher.waitingRows(this) >= limit
    if (isFull === this.#held) return
    this.#held = isFull
    if (isFull) this.#receiver?.pause()
    else this.#receiver?.resume()
  }

  computed({ rows, result, queueMs, computeMs }: Computed): void {
    if (this.#ending !== undefined) return
    const bytesOut = this.#isTail
      ? this.#sendTokens(rows, result.sampled)
      : this.#forward(rows, result.hidden)
    this.#timings.add({
      epoch: rows.epoch,
      position: rows.position,
      rows: rows.tokens.length,
      queueMicroseconds: Math.round(queueMs * 1000),
      computeMicroseconds: Math.round(computeMs * 1000),
      bytesIn: rows.tokens.byteLength + (rows.hidden?.byteLength ?? 0),
      bytesOut
    })
    this.#holdOrResume()
  }

  #forward({ epoch, position, tokens, sample }: Rows, hidden: Float32Array | undefined): number {
    if (hidden === undefined || this.#next === undefined) return 0
    const payload = new Uint8Array(hidden.buffer, hidden.byteOffset, hidden.byteLength)
    const frame: Frame = { epoch, position, tokens, sample, codec: 'f32', payload }
    // Rejects when the stream ends, which `closed` tells too.
    this.#next.send(frame).catch(() => {})
    return encodedLength(frame)
  }

  #sendTokens({ epoch, position, sample, tokens }: Rows, sampled: Int32Array | undefined): number {
    if (sampled === undefined) return 0
    // -1: the grammar refused the rows before, and all draws after are void.
    const valid = sampled.indexOf(-1)
    const drawn = Array.from(valid < 0 ? sampled : sampled.subarray(0, valid))
    const first = sample === 'all' ? position : position + tokens.length - 1
    this.#control.send({ type: 'tokens', epoch, position: first, tokens: drawn })
    return drawn.length * Int32Array.BYTES_PER_ELEMENT
  }

  /** Tells the consumer why, and ends. */
  failed(code: RefusalCode, message: string): void {
    if (this.#ending !== undefined) return
    this.#control.send({ type: 'refused', code, message })
    void this.end()
  }

  /** Frees everything that the session holds here. */
  end(): Promise<void> {
    this.#ending ??= this.#end()
    return this.#ending
  }

  async #end(): Promise<void> {
    this.#stage.batcher.remove(this)
    this.#timings.flush()
    this.#receiver?.abort(new Error('the session has ended'))
    await Promise.all([this.#next?.close(), this.#control.close(), this.#stage.release(this.#place)])
    this.#whenEnded.resolve()
  }
}

/** From the wire to the engine. */
export function samplerSettings(options: SamplerOptions): SamplerSettings {
  const { grammar, dry, penaltyLastN, ...rest } = options
  return {
    ...rest,
    penaltyLastN,
    ...(dry === undefined ? {} : { dry }),
    ...(grammar === '' ? {} : { grammar })
  }
}
