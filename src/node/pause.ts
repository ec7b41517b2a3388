import type { Clock } from '../common/index.ts'

/** Throws the signal's reason. */
export async function pause(clock: Clock, ms: number, signal?: AbortSignal): Promise<void> {
  signal?.throwIfAborted()
  const { promise, resolve } = Promise.withResolvers<void>()
  const cancel = clock.after(ms, resolve)
  const abort = (): void => resolve()
  signal?.addEventListener('abort', abort, { once: true })
  await promise
  cancel()
  signal?.removeEventListener('abort', abort)
  signal?.throwIfAborted()
}
