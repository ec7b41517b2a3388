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
  let first = 0
  const stop = (): void => {
    if (controller.signal.aborted && performance.now() - first > SAME_SIGNAL_MS) process.exit(INTERRUPTED)
    first ||= performance.now()
    controller.abort()
  }
  process.on('SIGINT', stop)
  process.on('SIGTERM', stop)
  process.once('disconnect', stop)
  process.channel?.unref() // waiting for it must not keep the process alive
  if (process.connected === false) stop() // it was gone before anybody listened; undefined: there was none
  return controller.signal
}

export async function aborted(signal: AbortSignal): Promise<void> {
  if (signal.aborted) return
  await new Promise((resolve) => signal.addEventListener('abort', resolve, { once: true }))
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
