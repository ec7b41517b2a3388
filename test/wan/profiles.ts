/** Links as people have them, by name; docs/WAN.md has the table. */
export interface WanProfile {
  /** Both ways together: each end delays what it sends by half of it. */
  readonly rttMs: number
  /** What is sent arrives up to so much later than that, in order, as TCP keeps it. */
  readonly jitterMs: number
  /** A node's uplink, shared by all its connections: what people's routers have is one line. */
  readonly bitsPerSecond: number
  /** Of packets that are lost. */
  readonly loss: number
}

const MEGABIT = 1_000_000
/** A terabit per second: nobody feels it. */
const UNLIMITED = 1_000_000 * MEGABIT

export const PROFILES = {
  /** As if nothing were emulated. */
  none: { rttMs: 0, jitterMs: 0, bitsPerSecond: UNLIMITED, loss: 0 },
  lan: { rttMs: 0.5, jitterMs: 0, bitsPerSecond: 1000 * MEGABIT, loss: 0 },
  city: { rttMs: 20, jitterMs: 1, bitsPerSecond: 100 * MEGABIT, loss: 0 },
  country: { rttMs: 50, jitterMs: 2, bitsPerSecond: 50 * MEGABIT, loss: 0 },
  world: { rttMs: 100, jitterMs: 4, bitsPerSecond: 20 * MEGABIT, loss: 0 },
  bad: { rttMs: 200, jitterMs: 20, bitsPerSecond: 10 * MEGABIT, loss: 0.01 }
} as const satisfies Record<string, WanProfile>

export type ProfileName = keyof typeof PROFILES

/** Throws where there is none of that name. */
export function profileNamed(name: string): WanProfile {
  if (Object.hasOwn(PROFILES, name)) return PROFILES[name as ProfileName]
  throw new Error(`there is no profile ${name}: ${Object.keys(PROFILES).join(', ')}`)
}

/** Delay only: what is left of a link when its rate is none of the question. */
export function delayOf(rttMs: number): WanProfile {
  return { ...PROFILES.none, rttMs }
}
