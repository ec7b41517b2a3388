/**
 * Who is dead, without believing anybody: a withdrawal only begins a suspicion, which ends well with a later
 * announcement of the accused (SWIM: Das, Gupta, Motivala 2002; its incarnation is our sequence).
 */
import type { Clock } from '../common/index.ts'
import type { SessionHost, SwarmHost, Verdict, Withdrawal } from '../net/index.ts'
import type { Announced } from './announcement.ts'
import { within } from './deadline.ts'
import { CLOCK_GRACE_MS, type Directory } from './directory.ts'
import { Limits, OBSERVER } from './limits.ts'

/** For the withdrawal to reach the accused, its answer to be made, 2.5 s after the one before, and to come back. */
const SUSPECTED_MS = 4_000
/** A handshake takes four round trips, which is 1.2 s around the earth. */
const PROBE_MS = 2_000
const MAX_TRIES = 2
/** Of all who hear of it: one may be cut off itself. */
const PROBERS = 3
/** One accusation too many is a bad link. */
const MAX_REFUTED = 2
const IGNORED_MS = 10 * 60_000
/** An accused lives no longer for having more accusers. */
const MAX_OBSERVERS = 16
interface Suspect {
  /** By observer: only an announcement after the one that it withdraws, which may not have come yet, refutes it. */
  readonly withdrawn: Map<string, number>
  /** It answers us. */
  isVouched: boolean
  readonly cancel: () => void
}

export interface SuspicionComponents {
  readonly clock: Clock
  readonly random: () => number
  readonly network: Pick<SessionHost & SwarmHost, 'peerId' | 'peers' | 'ping'>
  readonly directory: Directory
  /** Asks a node for an announcement of now. Rejects when it is not reached, or says something else. */
  readonly probe: (peer: string, signal: AbortSignal) => Promise<Announced>
  /** What a probe brought: for the directory. */
  readonly learn: (announced: Announced) => void
  /** Passes on what a probe brought. */
  readonly spread: (announced: Announced) => void
  /** Signs and spreads a withdrawal. */
  readonly withdraw: (withdrawal: Withdrawal) => void
  /** Somebody says that this node is dead, as of its announcement with this sequence. */
  readonly onAccused: (sequence: number) => void
}

export class Suspicion {
  readonly #components: SuspicionComponents
  readonly #suspects = new Map<string, Suspect>()
  readonly #reporting = new Set<string>()
  readonly #withdrawals: Limits
  /** Every refuted withdrawal takes one: who has none left is ignored. */
  readonly #trust: Limits
  readonly #life = new AbortController()

  constructor(components: SuspicionComponents) {
    this.#components = components
    this.#withdrawals = new Limits(components.clock, OBSERVER)
    this.#trust = new Limits(components.clock, { burst: MAX_REFUTED, everyMs: IGNORED_MS })
  }

  isSuspected(peer: string): boolean {
    return this.#suspects.has(peer)
  }

  /** A withdrawal came, of who signed it. */
  hear(withdrawal: Withdrawal): Verdict {
    const { peer, sequence, observer, at } = withdrawal
    const { clock, directory, network, onAccused } = this.#components
    // Our own clock may be off from theirs who believe this of us. The sequence that it answers with has to be one
    // that all take who took this.
    const grace = peer === network.peerId ? 2 * CLOCK_GRACE_MS : CLOCK_GRACE_MS
    const now = clock.wall()
    if (Math.abs(now - at) > grace || sequence > now + grace - CLOCK_GRACE_MS / 2) return 'ignore'
    if (this.#trust.waitMs(observer) > 0) return 'ignore'
    if (peer === network.peerId) {
      if (!this.#withdrawals.take(observer)) return 'ignore'
      onAccused(sequence)
      return 'accept'
    }
    const known = directory.announcementOf(peer)?.sequence
    if (known === undefined || known > sequence) return 'ignore'
    const { withdrawn } = this.#suspects.get(peer) ?? { withdrawn: new Map<string, number>() }
    if (withdrawn.has(observer) || withdrawn.size >= MAX_OBSERVERS) return 'ignore'
    if (!this.#withdrawals.take(observer)) return 'ignore'
    const suspect = this.#suspects.get(peer) ?? this.#suspect(peer, observer)
    suspect.withdrawn.set(observer, sequence)
    return 'accept'
  }

  /** The directory has a new announcement of its author. */
  heard({ announcement: { peer, sequence } }: Announced): void {
    const suspect = this.#suspects.get(peer)
    if (suspect === undefined) return
    const refuted = [...suspect.withdrawn].filter(([, withdrawn]) => withdrawn < sequence)
    for (const [observer] of refuted) {
      suspect.withdrawn.delete(observer)
      this.#trust.take(observer)
    }
    if (suspect.withdrawn.size === 0) this.#clear(peer)
    // It may be something that it said before it died, and others had already.
    if (refuted.some(([observer]) => observer === this.#components.network.peerId)) void this.report(peer)
  }

  /** Somebody here lost it while using it. Tells the others, unless it answers. */
  async report(peer: string): Promise<void> {
    if (this.#suspects.has(peer) || this.#reporting.has(peer)) return
    this.#reporting.add(peer)
    const sequence = await this.#lastWords(peer)
    this.#reporting.delete(peer)
    if (sequence === undefined || this.#life.signal.aborted) return
    const { clock, network, withdraw } = this.#components
    const withdrawal = { peer, sequence, observer: network.peerId, at: Math.floor(clock.wall()) }
    if (this.hear(withdrawal) === 'accept') withdraw(withdrawal)
  }

  /** The sequence as of which it does not answer; undefined when it does, or is not known. */
  async #lastWords(peer: string): Promise<number | undefined> {
    const { directory } = this.#components
    let sequence: number | undefined
    // What comes while it is asked may have been on its way for longer than it is dead.
    for (let tries = 0; tries < MAX_TRIES && sequence !== directory.announcementOf(peer)?.sequence; tries++) {
      sequence = directory.announcementOf(peer)?.sequence
      if (sequence === undefined || (await this.#probe(peer))) return undefined
    }
    return sequence
  }

  stop(): void {
    this.#life.abort()
    for (const peer of [...this.#suspects.keys()]) this.#clear(peer)
  }

  #suspect(peer: string, observer: string): Suspect {
    const { clock, network, random, directory } = this.#components
    const cancel = clock.after(SUSPECTED_MS, () => this.#conclude(peer))
    const suspect: Suspect = { withdrawn: new Map(), isVouched: false, cancel }
    this.#suspects.set(peer, suspect)
    const models = directory.get(peer)?.hosts ?? new Set()
    const nodes = Math.max(1, ...[...models].map((model) => directory.hostsOf(model)))
    // Who observed its death has asked it already.
    if (observer !== network.peerId && random() * nodes < PROBERS) void this.#probe(peer)
    else if (network.peers.includes(peer)) void this.#vouch(peer, suspect)
    return suspect
  }

  async #vouch(peer: string, suspect: Suspect): Promise<void> {
    const { clock, network } = this.#components
    try {
      await within(clock, PROBE_MS, (signal) => network.ping(peer, signal), this.#life.signal)
      suspect.isVouched = true
    } catch {
      // What others hear from it is what counts, then.
    }
  }

  /** Whether it answers. Clears a suspect for everybody, unless somebody else just did. */
  async #probe(peer: string): Promise<boolean> {
    const { clock, probe, learn, spread } = this.#components
    try {
      const announced = await within(clock, PROBE_MS, (signal) => probe(peer, signal), this.#life.signal)
      const suspect = this.#suspects.get(peer)
      if (suspect !== undefined) suspect.isVouched = true
      learn(announced)
      if (suspect !== undefined) spread(announced)
      return true
    } catch {
      return false
    }
  }

  #conclude(peer: string): void {
    const suspect = this.#suspects.get(peer)
    this.#suspects.delete(peer)
    if (suspect === undefined || suspect.isVouched) return
    const { directory } = this.#components
    directory.forget(peer, directory.announcementOf(peer)?.sequence ?? -1)
  }

  #clear(peer: string): void {
    this.#suspects.get(peer)?.cancel()
    this.#suspects.delete(peer)
  }
}
