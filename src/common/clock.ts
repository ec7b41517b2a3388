/** Time, so that the same code runs in a simulation. */
export interface Clock {
  /** Milliseconds that only ever grow, from an unknown origin. */
  now(): number
  /** Milliseconds since 1970, as others count them. */
  wall(): number
  /** Runs once, later. Returns how to call it off. Does not keep the process alive. */
  after(ms: number, run: () => void): () => void
}

export const systemClock: Clock = {
  now: () => performance.now(),
  wall: () => Date.now(),
  after: (ms, run) => {
    const timer = setTimeout(run, Math.max(0, ms)).unref()
    return () => clearTimeout(timer)
  }
}
