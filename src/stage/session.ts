/** One session at one stage: frames in, the frame rule, rows to the batcher, results to the next hop. */
import {
  type ControlStream,
  type DataReceiver,
  type DataSender,
  encodedLength,
  type Frame,
  type Open,
  type RefusalCode
} from '../net/index.ts'
import type { Computed, Lane } from './batcher.ts'
import { judge, type Rows, rowsOf } from './frames.ts'
import { refused } from './refusal.ts'
import type { Place, Stage } from './stage.ts'
import { TimingReports } from './timings.ts'

/** Batches that may wait per session before its sender is held up: one runs, one is ready, two are on the way. */
const WAITING_BATCHES = 4
/** Frames on their way to the next hop before the session stops computing: one leaves while one is computed. */
const MAX_UNSENT = 2
const MAX_UINT32 = 2 ** 32 - 1

export class StageSession implements Lane {
  readonly sequence: number
  readonly leaveAfter: number | undefined
  readonly #stage: Stage
  readonly #control: ControlStream
  readonly #place: Place
  readonly #isTail: boolean
  readonly #timings: TimingReports
  readonly #life = new AbortController()
  #next: DataSender | undefined
  #unsent = 0
  #receiver: DataReceiver | undefined
  #isOpen = false
  #isPaused = false
  #epoch = 0
  /** Positions admitted: computed, being computed or waiting. */
  #length = 0
  /** While the engine cuts the sequence, frames wait here. */
  #cutting: Frame[] | undefined
  #ending: Promise<void> | undefined

  constructor(stage: Stage, control: ControlStream, place: Place, open: Open) {
    this.#stage = stage
    this.#control = control
    this.#timings = new TimingReports(control)
    this.#place = place
    this.#isTail = open.head
    this.sequence = place.sequence
    this.leaveAfter = open.head ? undefined : open.end - open.start - 1
    stage.batcher.add(this)
  }

  /** Aborted when the session begins to end. */
  get signal(): AbortSignal {
    return this.#life.signal
  }

  /** The data stream to the hop after. */
  sendTo(next: DataSender): void {
    this.#next = next
    if (this.#ending !== undefined) next.abort(new Error('the session has ended'))
    void next.closed.then((error) => {
      this.failed('next', `the next hop is gone: ${error?.message ?? 'it closed'}`)
    })
  }

  opened(): void {
    if (this.#ending !== undefined) return
    this.#isOpen = true
    const { maxRows } = this.#stage.info
    this.#control.send({ type: 'opened', maxRows, capacity: this.#place.reserved })
    this.#holdOrResume()
  }

  /** The data stream from the hop before. A second one (a new hop before) replaces the first. */
  receiveFrom(receiver: DataReceiver): void {
    const previous = this.#receiver
    this.#receiver = receiver
    previous?.abort(new Error('replaced by another stream with the same ticket'))
    if (this.#isPaused) receiver.pause()
    const { width, maxRows } = this.#stage.info
    receiver.start(
      { width, maxRows },
      {
        receive: (frame) => {
          if (this.#receiver === receiver) this.#receive(frame)
        },
        end: () => {} // the consumer hears of a lost hop from the hop itself, and decides
      }
    )
    this.#holdOrResume()
  }

  #receive(frame: Frame): void {
    this.#admit(frame)
    this.#holdOrResume()
  }

  #admit(frame: Frame): void {
    if (this.#ending !== undefined) return
    if (this.#cutting !== undefined) {
      this.#cutting.push(frame)
      return
    }
    const verdict = judge({ epoch: this.#epoch, length: this.#length }, frame)
    if (verdict.action === 'drop') return
    if (verdict.action === 'need') {
      this.#control.send({ type: 'need', epoch: frame.epoch, length: this.#length })
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
    this.#length = frame.position + frame.tokens.length
    this.#stage.batcher.push(this, rowsOf(frame))
  }

  /** What is wrong with a frame, beyond what its decoder has checked and the engine will. */
  #problem({ position, tokens, codec }: Frame): string | undefined {
    const { embedding } = this.#stage.info
    if ((codec === 'none') !== embedding) {
      return embedding ? 'the first stage takes token ids' : 'this stage takes hidden states'
    }
    const end = position + tokens.length
    const { reserved } = this.#place
    if (end > reserved) return `position ${end} is beyond the ${reserved} reserved`
    return undefined
  }

  async #truncate(length: number, frame: Frame): Promise<void> {
    const waiting = [frame]
    this.#cutting = waiting
    this.#length = await this.#stage.batcher.truncate(this, length)
    this.#cutting = undefined
    // Judged again: a window that no longer reaches back that far leaves nothing, and all of it is needed again.
    for (const later of waiting) this.#admit(later)
    this.#holdOrResume()
  }

  /** Back-pressure: a sender that is far ahead waits. */
  #holdOrResume(): void {
    const limit = WAITING_BATCHES * this.#stage.info.maxRows
    const mustWait =
      !this.#isOpen || this.#cutting !== undefined || this.#stage.batcher.waitingRows(this) >= limit
    if (mustWait === this.#isPaused) return
    this.#isPaused = mustWait
    if (mustWait) this.#receiver?.pause()
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
      queueMicroseconds: microseconds(queueMs),
      computeMicroseconds: microseconds(computeMs),
      bytesIn: rows.tokens.byteLength + (rows.hidden?.byteLength ?? 0),
      bytesOut
    })
    this.#holdOrResume()
  }

  #forward({ epoch, position, tokens, sample }: Rows, hidden: Float32Array | undefined): number {
    if (hidden === undefined || this.#next === undefined) return 0
    const payload = new Uint8Array(hidden.buffer, hidden.byteOffset, hidden.byteLength)
    const frame: Frame = { epoch, position, tokens, sample, codec: 'f32', payload }
    this.#unsent += 1
    if (this.#unsent === MAX_UNSENT) this.#stage.batcher.hold(this)
    const sent = (): void => {
      if (this.#unsent === MAX_UNSENT) this.#stage.batcher.resume(this)
      this.#unsent -= 1
    }
    // Rejects when the stream ends, which `closed` tells too.
    this.#next.send(frame).then(sent, sent)
    return encodedLength(frame)
  }

  #sendTokens({ epoch, position, sample, tokens }: Rows, sampled: Int32Array | undefined): number {
    if (sampled === undefined) return 0
    const first = sample === 'all' ? position : position + tokens.length - 1
    // -1: the grammar refused the rows before, and all draws after are void.
    const refusedAt = sampled.indexOf(-1)
    const drawn = Array.from(refusedAt < 0 ? sampled : sampled.subarray(0, refusedAt))
    if (drawn.length === 0) {
      this.failed('input', `the grammar allows no token after position ${first}`)
      return 0
    }
    this.#control.send({ type: 'tokens', epoch, position: first, tokens: drawn })
    return drawn.length * Int32Array.BYTES_PER_ELEMENT
  }

  /** Tells the consumer why, and ends. */
  failed(code: RefusalCode, message: string): void {
    if (this.#ending !== undefined) return
    this.#control.send(refused({ code, message }))
    void this.end()
  }

  /** Frees at once what the session holds here; resolves when its streams have ended, too. */
  end(): Promise<void> {
    if (this.#ending !== undefined) return this.#ending
    const ended = Promise.withResolvers<void>()
    this.#ending = ended.promise // before the rest, which may call back
    this.#stage.batcher.remove(this)
    this.#stage.release(this.#place)
    this.#life.abort()
    this.#timings.flush()
    this.#receiver?.abort(new Error('the session has ended'))
    void Promise.all([this.#next?.close(), this.#control.close()]).then(() => ended.resolve())
    return this.#ending
  }
}

function microseconds(ms: number): number {
  return Math.min(Math.round(ms * 1000), MAX_UINT32)
}
