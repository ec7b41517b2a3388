import { ShoalError } from '../common/index.ts'

/** A terminal's Ctrl-C reaches a process twice where npm passes it on, too: only a later one means impatience. */
const SAME_SIGNAL_MS = 500
/** 128 + SIGINT, as shells count it. */
export const INTERRUPTED = 130

/** Thrown for a command line that can't be carried out as it stands. */
export class UsageError extends ShoalError {
  constructor(message: string) {
    super('USAGE', message)
  }
}

/**
 * Aborts at Ctrl-C, at SIGTERM, and when the process that started this one (with a message channel) is gone.
 * A second Ctrl-C ends the process at once.
 */
export function untilInterrupted(): AbortSignal {
  const controller = new AbortController()
  const interrupted = (): void => {
    if (controller.signal.aborted) process.exit(INTERRUPTED)
    controller.abort()
  }
  onInterrupted(interrupted, () => controller.abort())
  return controller.signal
}

/** For who asks one thing after the other: Ctrl-C ends what runs `apart`, or everything where nothing does. */
export class Interrupts {
  readonly #all = new AbortController()
  #apart: AbortController | undefined
  #apartUntil = Number.NEGATIVE_INFINITY

  constructor() {
    onInterrupted(
      (name) => this.#interrupted(name),
      () => this.#all.abort()
    )
  }

  /** Aborted when everything is to end. */
  get signal(): AbortSignal {
    return this.#all.signal
  }

  async apart<T>(work: (signal: AbortSignal) => Promise<T>): Promise<T> {
    const apart = new AbortController()
    this.#apart = apart
    try {
      return await work(AbortSignal.any([apart.signal, this.signal]))
    } finally {
      this.#apart = undefined
      this.#apartUntil = performance.now()
    }
  }

  #interrupted(name: NodeJS.Signals): void {
    if (this.#all.signal.aborted) process.exit(INTERRUPTED)
    // What came just too late was meant for what has ended by itself.
    const isApart = this.#apart !== undefined || performance.now() - this.#apartUntil <= SAME_SIGNAL_MS
    if (name === 'SIGINT' && isApart) this.#apart?.abort()
    else this.#all.abort()
  }
}

/**
 * For a process that others rely on: it ends in good order at Ctrl-C, at SIGTERM or when `finish` is called. The
 * next Ctrl-C or SIGTERM, and the end of the process that started this one, leave no time for that.
 */
export class Lifetime {
  readonly #end = new AbortController()
  /** No more time for good order. */
  readonly #hurry = new AbortController()
  #isDraining = false

  constructor() {
    onInterrupted(
      () => this.#interrupted(),
      () => this.#endAtOnce()
    )
  }

  /** Aborted when the process is to end. */
  get signal(): AbortSignal {
    return this.#end.signal
  }

  finish(): void {
    this.#end.abort()
  }

  /** Does what good order asks for, if there is time; the signal says when there is none left. */
  async drain(work: (signal: AbortSignal) => Promise<void>): Promise<void> {
    const { signal } = this.#hurry
    if (signal.aborted) return
    this.#isDraining = true
    await work(signal)
    this.#isDraining = false
  }

  #interrupted(): void {
    if (!this.#end.signal.aborted) {
      this.finish()
    } else if (this.#isDraining && !this.#hurry.signal.aborted) {
      process.exitCode = INTERRUPTED
      this.#endAtOnce()
    } else {
      process.exit(INTERRUPTED)
    }
  }

  #endAtOnce(): void {
    this.#hurry.abort()
    this.#end.abort()
  }
}

/** Ctrl-C and SIGTERM, each of them once; and `orphaned` when the process that started this one is gone. */
function onInterrupted(interrupted: (name: NodeJS.Signals) => void, orphaned: () => void): void {
  let last = Number.NEGATIVE_INFINITY
  const signalled = (name: NodeJS.Signals): void => {
    const now = performance.now()
    if (now - last <= SAME_SIGNAL_MS) return
    last = now
    interrupted(name)
  }
  const left = (): void => {
    last = performance.now() // whoever leaves may send a signal, too
    orphaned()
  }
  process.on('SIGINT', signalled)
  process.on('SIGTERM', signalled)
  process.once('disconnect', left)
  process.channel?.unref() // waiting for it must not keep the process alive
  if (process.connected === false) left() // it was gone before anybody listened; undefined: there was none
}

interface Part {
  start(options: { readonly signal: AbortSignal }): Promise<void>
  stop(): Promise<void>
}

/** Starts `parts` in turn, stops those that were started in reverse order, whatever `use` does. */
export async function withStarted<T>(
  parts: readonly Part[],
  signal: AbortSignal,
  use: () => Promise<T>
): Promise<T> {
  const started: Part[] = []
  try {
    for (const part of parts) {
      started.unshift(part)
      await part.start({ signal })
    }
    return await use()
  } finally {
    for (const part of started) await part.stop()
  }
}
