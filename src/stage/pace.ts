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
  /** When its last row left; undefined while it has one here, and for a stream. */
  left: number | undefined
  lastSeen: number
  /** When it came last, and with how many rows. */
  came: number | undefined
  rows: number
  /**
   * Guesses come in windows, of which several are under way: they are no rounds, and nobody is to wait for the next one.
   * Above 0 it is such a stream (until so many single rows have come), and `mean` is from one coming to the next.
   */
  windows: number
}

function decodes({ mean, lastSeen, windows }: Round, now: number): boolean {
  const least = mean === undefined || windows > 0 ? FIRST_WINDOW_MS : LEAST_WINDOW_MS
  return now - lastSeen <= Math.max(least, ROUNDS * (mean ?? 0))
}

export class Pace<Session> {
  readonly #rounds = new Map<Session, Round>()

  /** Decode rows came. `isWindow`: guesses to verify, behind which others may be under way. */
  came(session: Session, now: number, rows = 1, isWindow = false): void {
    const round = this.#roundOf(session, now)
    const { left, came } = round
    const wasStream = round.windows > 0
    round.windows = isWindow ? ROUNDS : Math.max(0, round.windows - 1)
    const isStream = round.windows > 0
    if (isStream !== wasStream) round.mean = undefined // of something else
    round.left = undefined
    round.lastSeen = now
    round.came = now
    round.rows = rows
    const before = isStream ? came : left
    if (before === undefined || now - before > LONGEST_ROUND_MS) return
    const away = now - before
    if (round.mean === undefined) {
      round.mean = away
      round.deviation = away / 2
    } else {
      round.deviation += (Math.abs(away - round.mean) - round.deviation) * WEIGHT
      round.mean += (away - round.mean) * WEIGHT
    }
  }

  /** All of its rows were computed, and others are expected. */
  left(session: Session, now: number): void {
    const round = this.#roundOf(session, now)
    if (round.windows === 0) round.left = now
    round.lastSeen = now
  }

  #roundOf(session: Session, now: number): Round {
    const known = this.#rounds.get(session)
    if (known !== undefined) return known
    const round: Round = {
      ...{ mean: undefined, deviation: 0, left: undefined, lastSeen: now },
      ...{ came: undefined, rows: 1, windows: 0 }
    }
    this.#rounds.set(session, round)
    return round
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

  /** Rows that they have come with. */
  rows(now: number): number {
    let count = 0
    for (const round of this.#rounds.values()) if (decodes(round, now)) count += round.rows
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

  /** The shortest mean time until a session is back; Infinity while none is known. */
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
