import type { FrameTiming, Timing } from '../net/index.ts'

/**
 * A message per frame would cost the next stage's computing more than it tells the consumer: each is encrypted,
 * sent and parsed while others compute on the same cores. A quarter of a second is well below what the
 * consumer waits before it suspects a stage.
 */
const REPORT_MS = 250
/** As many as one message may have. */
const MOST_FRAMES = 256

/** Collects what frames took and reports it now and then. */
export class TimingReports {
  readonly #say: (message: Timing) => void
  #frames: FrameTiming[] = []
  #timer: NodeJS.Timeout | undefined

  constructor(say: (message: Timing) => void) {
    this.#say = say
  }

  add(frame: FrameTiming): void {
    this.#frames.push(frame)
    if (this.#frames.length >= MOST_FRAMES) this.flush()
    else this.#timer ??= setTimeout(() => this.flush(), REPORT_MS)
  }

  flush(): void {
    clearTimeout(this.#timer)
    this.#timer = undefined
    if (this.#frames.length === 0) return
    this.#say({ type: 'timing', frames: this.#frames })
    this.#frames = []
  }
}
