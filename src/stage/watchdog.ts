/** Notices what takes too long, and nothing else: time in which this process could not have noticed is not counted. */

/** How often it looks whether its own timers are late. */
const TICK_MS = 250
/** A timer this late says that this process, or the machine, stood still. */
const LATE_MS = 50

/**
 * Calls `expired` once after `deadlineMs`, unless the returned function was called before. Where this process's own
 * timers were late (a blocked event loop, a suspended machine), it waits that much longer, and at least a tick more,
 * since the answer may be there unread.
 */
export function watch(deadlineMs: number, expired: (waitedMs: number) => void): () => void {
  const started = performance.now()
  let lateMs = 0
  let timer: NodeJS.Timeout
  const wait = (ms: number): void => {
    const due = performance.now() + ms
    timer = setTimeout(() => {
      const now = performance.now()
      const late = Math.max(0, now - due)
      lateMs += late
      const left = started + deadlineMs + lateMs - now
      if (late > LATE_MS) wait(TICK_MS)
      else if (left <= 0) expired(now - started)
      else wait(Math.min(left, TICK_MS))
    }, ms)
  }
  wait(Math.min(deadlineMs, TICK_MS))
  return () => clearTimeout(timer)
}
