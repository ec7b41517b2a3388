/**
 * Who is dead, without believing anybody: a withdrawal only begins a suspicion, which ends well with a later
 * announcement of the accused (SWIM: Das, Gupta, Motivala 2002; its incarnation is our sequence).
 */
import { type Clock, Limits } from '../common/index.ts'
import type { SessionHost, SwarmHost, Verdict, Withdrawal } from '../net/index.ts'
import type { Announced } from './announcement.ts'
import { within } from './deadline.ts'
import { CLOCK_GRACE_MS, type Directory } from './directory.ts'
import { OBSERVER } from './limits.ts'

/** For the withdrawal to reach the accused, its answer to be made, 2.5 s after the one before, and to come back. */
const SUSPECTED_MS = 4_000
/** A handshake takes four round trips, which is 1.2 s around the earth. */
const PROBE_MS = 2_000
/** Of an observer, before it tells others: there is no time for more. */
const MAX_TRIES = 2
/** Of all who hear of it: one may be cut off itself. */
const PROBERS = 3
/** One accusation too many is a bad link. */
const MAX_REFUTED = 2
const IGNORED_MS = 10 * 60_000
/** An accused lives no longer for having more accusers. */
const MAX_OBSERVERS = 16

/** A withdrawal that is not refuted yet; each has its time. */
interface Accusation {
  /** Only an announcement after this one, which may not have come yet, refutes it. */
  readonly sequence: number
  /** The accused answers us. */
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
  /** By accused, then by observer. */
  readonly #accusations = new Map<string, Map<string, Accusation>>()
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
    return this.#accusations.has(peer)
  }

  /** Whether it proves somebody wrong. */
  isRefutedBy({ announcement: { peer, sequence } }: Announced): boolean {
    return this.#refutedBy(peer, sequence).length > 0
  }

  /** A withdrawal came, of who signed it. */
  hear(withdrawal: Withdrawal): Verdict {
    const { peer, sequence, observer, at } = withdrawal
    const { clock, directory, network, onAccused } = this.#components
    if (peer === network.peerId) {
      onAccused(sequence) // whoever says so: others may believe it
      return 'ignore'
    }
    const now = clock.wall()
    if (Math.abs(now - at) > CLOCK_GRACE_MS || this.#trust.waitMs(observer) > 0) return 'ignore'
    const known = directory.announcementOf(peer)?.sequence
    if (known === undefined || known > sequence) return 'ignore'
    // The accused answers with a sequence after it, which has to be one that all take who took this.
    if (sequence > Math.max(known, now + CLOCK_GRACE_MS / 2)) return 'ignore'
    const accusations = this.#accusations.get(peer) ?? new Map<string, Accusation>()
    const before = accusations.get(observer)
    // The same on the topic of another model is passed on there, too.
    if (before !== undefined) return before.sequence === sequence ? 'accept' : 'ignore'
    if (accusations.size >= MAX_OBSERVERS) return 'ignore'
    if (!this.#withdrawals.take(observer)) return 'ignore'
    const cancel = clock.after(SUSPECTED_MS, () => this.#conclude(peer, observer))
    accusations.set(observer, { sequence, isVouched: false, cancel })
    this.#accusations.set(peer, accusations)
    if (observer !== network.peerId) this.#look(peer) // else it has just been asked
    return 'accept'
  }

  /** A new announcement came. */
  heard({ announcement: { peer, sequence } }: Announced): void {
    const { directory, network } = this.#components
    if (directory.get(peer) === undefined) this.#clear(peer) // it has left
    const refuted = this.#refutedBy(peer, sequence)
    for (const observer of refuted) {
      this.#drop(peer, observer)
      this.#trust.take(observer)
    }
    // It may be something that it said before it died, and others had already.
    if (refuted.includes(network.peerId)) void this.report(peer)
  }

  /** Somebody here lost it while using it. Tells the others, unless it answers. */
  async report(peer: string): Promise<void> {
    if (this.isSuspected(peer) || this.#reporting.has(peer)) return
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
    for (const peer of [...this.#accusations.keys()]) this.#clear(peer)
  }

  /** Observers. */
  #refutedBy(peer: string, sequence: number): string[] {
    const accusations = [...(this.#accusations.get(peer) ?? [])]
    return accusations.filter(([, accused]) => accused.sequence < sequence).map(([observer]) => observer)
  }

  /** Some ask it for all others, those who are connected for themselves. */
  #look(peer: string): void {
    const { network, random, directory } = this.#components
    const models = directory.get(peer)?.hosts ?? new Set()
    const nodes = Math.max(1, ...[...models].map((model) => directory.hostsOf(model)))
    if (random() * nodes < PROBERS) void this.#probe(peer)
    else if (network.peers.includes(peer)) void this.#ping(peer)
  }

  async #ping(peer: string): Promise<void> {
    const { clock, network } = this.#components
    try {
      await within(clock, PROBE_MS, (signal) => network.ping(peer, signal), this.#life.signal)
      this.#vouch(peer)
    } catch {
      // What others hear from it is what counts, then.
    }
  }

  /** Whether it answers. Clears it for everybody, unless somebody else just did. */
  async #probe(peer: string): Promise<boolean> {
    const { clock, probe, learn, spread } = this.#components
    try {
      const announced = await within(clock, PROBE_MS, (signal) => probe(peer, signal), this.#life.signal)
      const isNews = this.isRefutedBy(announced)
      this.#vouch(peer)
      learn(announced)
      if (isNews) spread(announced)
      return true
    } catch {
      return false
    }
  }

  #vouch(peer: string): void {
    for (const accusation of this.#accusations.get(peer)?.values() ?? []) accusation.isVouched = true
  }

  #conclude(peer: string, observer: string): void {
    const { directory } = this.#components
    const accusation = this.#accusations.get(peer)?.get(observer)
    this.#drop(peer, observer)
    if (accusation === undefined || accusation.isVouched) return
    this.#clear(peer)
    directory.forget(peer, accusation.sequence)
  }

  #clear(peer: string): void {
    for (const observer of [...(this.#accusations.get(peer)?.keys() ?? [])]) this.#drop(peer, observer)
  }

  #drop(peer: string, observer: string): void {
    const accusations = this.#accusations.get(peer)
    accusations?.get(observer)?.cancel()
    accusations?.delete(observer)
    if (accusations?.size === 0) this.#accusations.delete(peer)
  }
}
