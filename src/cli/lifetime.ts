import type { Startable } from '../common/index.ts'

/**
 * Aborts at Ctrl-C, at SIGTERM, and when the process that started this one (with a message channel) is gone.
 * A second Ctrl-C ends the process at once.
 */
export function untilInterrupted(): AbortSignal {
  const controller = new AbortController()
  const stop = (): void => {
    if (controller.signal.aborted) process.exit(130)
    controller.abort()
  }
  process.on('SIGINT', stop)
  process.on('SIGTERM', stop)
  process.once('disconnect', stop)
  process.channel?.unref() // waiting for it must not keep the process alive
  return controller.signal
}

export async function aborted(signal: AbortSignal): Promise<void> {
  if (signal.aborted) return
  await new Promise((resolve) => signal.addEventListener('abort', resolve, { once: true }))
}

/** Starts `parts` in turn, stops those that were started in reverse order, whatever `use` does. */
export async function withStarted<T>(parts: readonly Startable[], use: () => Promise<T>): Promise<T> {
  const started: Startable[] = []
  try {
    for (const part of parts) {
      started.unshift(part)
      await part.start()
    }
    return await use()
  } finally {
    for (const part of started) await part.stop()
  }
}
