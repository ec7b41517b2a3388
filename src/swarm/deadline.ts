import type { Clock } from '../common/index.ts'

/** Runs `work` with a signal that fires after `ms`, or with `signal`; `work` is to reject then. */
export async function within<T>(
  clock: Clock,
  ms: number,
  work: (signal: AbortSignal) => Promise<T>,
  signal?: AbortSignal
): Promise<T> {
  const late = new AbortController()
  const cancel = clock.after(ms, () => late.abort(new DOMException('no answer in time', 'TimeoutError')))
  try {
    return await work(signal === undefined ? late.signal : AbortSignal.any([late.signal, signal]))
  } finally {
    cancel()
  }
}
