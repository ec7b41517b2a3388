/**
 * When decoding sessions come back: a row of theirs leaves, passes the other stages and the consumer, and the next
 * one comes. That nobody waits this instant does not mean that nobody decodes.
 */

/**
 * A session that has not come back after so many of its rounds, and so many milliseconds, decodes no more: most likely
 * its answer has ended, and somebody else's prompt is not to wait for it.
 */
const ROUNDS = 4
const LEAST_WINDOW_MS = 100
/** Where nobody knows yet how long its rounds are. */
const FIRST_WINDOW_MS = 1_000
/** Away for longer is no round: its reader thought about the next question. */
const LONGEST_ROUND_MS = 10_000
/** Weight of the last round. */
const WEIGHT = 1 / 4

interface Round {
  /** Milliseconds from a row's leaving to the next one's coming, and how much they differ from that. */
  mean: number | undefined
  deviation: number
  /** When its last row left; undefined while it has one here. */
  left: number | undefined
  lastSeen: number
}

function decodes({ mean, lastSeen }: Round, now: number): boolean {
  const windowMs = mean === undefined ? FIRST_WINDOW_MS : Math.max(LEAST_WINDOW_MS, ROUNDS * mean)
  return now - lastSeen <= windowMs
}

export class Pace<Session> {
  readonly #rounds = new Map<Session, Round>()

  /** A decode row came. */
  came(session: Session, now: number): void {
    const round = this.#rounds.get(session)
    if (round === undefined) {
      this.#rounds.set(session, { mean: undefined, deviation: 0, left: undefined, lastSeen: now })
      return
    }
    const { left, mean } = round
    round.left = undefined
    round.lastSeen = now
    if (left === undefined || now - left > LONGEST_ROUND_MS) return
    const away = now - left
    if (mean === undefined) {
      round.mean = away
      round.deviation = away / 2
    } else {
      round.deviation += (Math.abs(away - mean) - round.deviation) * WEIGHT
      round.mean = mean + (away - mean) * WEIGHT
    }
  }

  /** Its row was computed, and another is expected. */
  left(session: Session, now: number): void {
    const round = this.#rounds.get(session)
    if (round === undefined) {
      this.#rounds.set(session, { mean: undefined, deviation: 0, left: now, lastSeen: now })
    } else {
      round.left = now
      round.lastSeen = now
    }
  }

  /** It does not decode now. */
  forget(session: Session): void {
    this.#rounds.delete(session)
  }

  /** How many sessions have decoded lately. */
  decoding(now: number): number {
    let count = 0
    for (const round of this.#rounds.values()) if (decodes(round, now)) count += 1
    return count
  }

  /** Whether one of them may be about to come: nobody can tell when it does, or it is due. */
  mayCome(now: number, tolerance: number): boolean {
    return this.#rounds.values().some((round) => {
      const { mean, deviation, left } = round
      if (left === undefined || !decodes(round, now)) return false
      return mean === undefined || deviation > tolerance || Math.abs(left + mean - now) <= tolerance
    })
  }

  /** The shortest mean time that a session is away; Infinity while none is known. */
  get shortestMs(): number {
    let shortest = Number.POSITIVE_INFINITY
    for (const { mean } of this.#rounds.values()) shortest = Math.min(shortest, mean ?? shortest)
    return shortest
  }

  /**
   * Milliseconds in which nobody is likely to come; 0 while somebody is about to, Infinity if nothing can be told
   * of anybody.
   */
  freeMs(now: number): number {
    let free = Number.POSITIVE_INFINITY
    for (const { mean, deviation, left } of this.#rounds.values()) {
      if (mean === undefined || left === undefined || now > left + mean + deviation) continue
      free = Math.min(free, Math.max(0, left + mean - deviation - now))
    }
    return free
  }

  /**
   * Milliseconds until the next session is back, as far as rounds are alike to within `tolerance`: 0 for one that
   * is late by no more than that; Infinity if none can be foretold.
   */
  dueMs(now: number, tolerance: number): number {
    let due = Number.POSITIVE_INFINITY
    for (const { mean, deviation, left } of this.#rounds.values()) {
      if (mean === undefined || left === undefined || deviation > tolerance) continue
      const until = left + mean - now
      if (until >= -tolerance) due = Math.min(due, Math.max(0, until))
    }
    return due
  }
}
