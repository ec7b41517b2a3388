/** What this node asks others: for their directory, and whether they live. */
import { aborted, type Clock, ShoalError } from '../common/index.ts'
import type { Gossip, SessionHost, SwarmAnswer, SwarmHost, SwarmRequest } from '../net/index.ts'
import type { Announced, Notice } from './announcement.ts'
import { within } from './deadline.ts'
import type { Directory } from './directory.ts'
import type { Intake } from './intake.ts'
import type { Summaries } from './summaries.ts'

/** Asked for a directory at once: one may be slow, another know less. */
const SOURCES = 3
const SOURCE_MS = 5_000
/** Those who wait for a stage refresh several times per second. */
const REFRESHED_MS = 1_000
/** Announcements read in one go, some 10 ms: heartbeats of sessions wait for it. */
const BATCH = 32
/** That one request may name. */
const MAX_MODELS = 256

/** Thrown when a peer does not answer as the swarm's protocol has it. */
export class SwarmError extends ShoalError {
  declare readonly code: 'REFUSED' | 'GARBAGE'

  constructor(code: 'REFUSED' | 'GARBAGE', message: string) {
    super(code, message)
  }
}

export interface InquiryComponents {
  readonly clock: Clock
  readonly random: () => number
  readonly network: Pick<SessionHost & SwarmHost, 'peerId' | 'peers' | 'ask'>
  readonly directory: Directory
  readonly summaries: Summaries
  readonly intake: Intake
  /** Models whose followers know this node, or should. */
  readonly announced: () => ReadonlySet<string>
  /** Somebody who knows others of them does not know this node. */
  readonly onUnknown: () => void
  readonly onError: (error: Error) => void
}

export class Inquiry {
  readonly #components: InquiryComponents
  #refreshing: Promise<void> | undefined
  #refreshedAt = Number.NEGATIVE_INFINITY

  constructor(components: InquiryComponents) {
    this.#components = components
  }

  /** See `Swarm.learn`. */
  async learn(
    peer: string,
    addresses: readonly string[],
    models: readonly string[],
    signal?: AbortSignal
  ): Promise<void> {
    const { intake, summaries, clock, network, announced, onUnknown } = this.#components
    const shared = [...announced()].filter((model) => models.length === 0 || models.includes(model))
    let isFollower = false
    let isKnown = false
    const answer = await this.#ask(
      peer,
      addresses,
      { type: 'directory', models: models.slice(0, MAX_MODELS) },
      signal
    )
    for (const [index, { sealed, ageSeconds }] of answer.announcements.entries()) {
      if (index % BATCH === BATCH - 1) await new Promise<void>((resolve) => clock.after(0, resolve))
      signal?.throwIfAborted()
      const notice = await this.#read({ type: 'announcement', ...sealed }, peer)
      if (notice?.type !== 'announcement') continue
      intake.take(notice.announced, ageSeconds)
      isFollower ||= shared.some((model) => notice.announced.hosts.has(model))
      isKnown ||= notice.announced.announcement.peer === network.peerId
    }
    if (isFollower && !isKnown) onUnknown()
    for (const sealed of answer.summaries) {
      const notice = await this.#read({ type: 'summary', ...sealed }, peer)
      if (notice?.type === 'summary') summaries.hear(notice.summary, notice.sealed)
    }
  }

  /** Asks some nodes what they know of these models; once for all who call meanwhile. Throws the signal's reason. */
  async refresh(models: readonly string[], signal?: AbortSignal): Promise<void> {
    signal?.throwIfAborted()
    const { clock } = this.#components
    if (this.#refreshing === undefined && clock.now() < this.#refreshedAt + REFRESHED_MS) return
    this.#refreshing ??= this.askSome(models).finally(() => {
      this.#refreshedAt = clock.now()
      this.#refreshing = undefined
    })
    await (signal === undefined ? this.#refreshing : Promise.race([this.#refreshing, aborted(signal)]))
    signal?.throwIfAborted()
  }

  /** Resolves when they have answered, or had the time to. */
  async askSome(models: readonly string[]): Promise<void> {
    if (models.length === 0) return
    const { clock, directory, onError } = this.#components
    const learn = (peer: string): Promise<void> => {
      const addresses = directory.announcementOf(peer)?.addresses ?? []
      return within(clock, SOURCE_MS, (signal) => this.learn(peer, addresses, models, signal)).catch(onError)
    }
    await Promise.all(this.#sources(models).map(learn))
  }

  /** What a node says of itself now, to this node alone. */
  async probe(peer: string, signal: AbortSignal): Promise<Announced> {
    const { directory, intake } = this.#components
    const addresses = directory.announcementOf(peer)?.addresses ?? []
    const { announcement } = await this.#ask(peer, addresses, { type: 'probe' }, signal)
    if (announcement === undefined) throw new SwarmError('REFUSED', `${peer} has nothing to announce`)
    const notice = await intake.open({ type: 'announcement', ...announcement }, peer)
    if (notice.type === 'announcement' && notice.announced.announcement.peer === peer) return notice.announced
    throw new SwarmError('GARBAGE', `${peer} answers for somebody else`)
  }

  /** Undefined for garbage, as long as there is little of it. */
  async #read(message: Gossip, peer: string): Promise<Notice | undefined> {
    const { intake } = this.#components
    const notice = await intake.open(message, peer).catch(() => undefined)
    if (intake.isCut(peer)) throw new SwarmError('GARBAGE', `${peer} answers with garbage`)
    return notice
  }

  async #ask<T extends SwarmRequest['type']>(
    peer: string,
    addresses: readonly string[],
    request: Extract<SwarmRequest, { type: T }>,
    signal: AbortSignal | undefined
  ): Promise<Extract<SwarmAnswer, { type: T }>> {
    const { network, intake } = this.#components
    const answer = await network.ask(peer, [...addresses], request, signal).catch((error: unknown) => {
      intake.blame(peer, error)
      throw error
    })
    if (answer.type === request.type) return answer as Extract<SwarmAnswer, { type: T }>
    throw new SwarmError(
      'REFUSED',
      answer.type === 'refused' ? answer.message : `${peer} answers something else`
    )
  }

  /** Hosts of the models know of the others; any neighbour may. */
  #sources(models: readonly string[]): string[] {
    const { directory, network, random } = this.#components
    const hosts = new Set(models.flatMap((model) => directory.stagesOf(model).map(({ peer }) => peer)))
    const connected = new Set(network.peers)
    const rank = (peer: string): number =>
      (hosts.has(peer) ? 4 : 0) + (connected.has(peer) ? 2 : 0) + random()
    const ranked = [...hosts.union(connected)].map((peer) => ({ peer, rank: rank(peer) }))
    ranked.sort((a, b) => b.rank - a.rank)
    return ranked.slice(0, SOURCES).map(({ peer }) => peer)
  }
}
