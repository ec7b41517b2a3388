/** What nodes say to everybody, signed by them: making it, and opening what came. */
import { ShoalError } from '../common/index.ts'
import {
  type Announcement,
  announcements,
  type Gossip,
  gossip,
  type ModelSummary,
  type Sealed,
  type SwarmHost,
  summaries,
  type Withdrawal,
  withdrawals
} from '../net/index.ts'
import type { HostedStage } from './discover.ts'
import { decodeOffer, OFFER, type Offer } from './placement-offer.ts'
import { decodeSeeds, SEEDS } from './seeds.ts'
import { subnetsOf } from './subnets.ts'

/** Thrown for a message that is not by who it says it is. */
export class SignatureError extends ShoalError {
  constructor(kind: string, peer: string) {
    super('SIGNATURE', `this ${kind} was not signed by ${peer}`)
  }
}

/** Whether the peer signed these bytes. */
export type Verify = (peer: string, bytes: Uint8Array, signature: Uint8Array) => boolean | Promise<boolean>

type Sign = SwarmHost['sign']
type Kind = Gossip['type']

/** An announcement that its author has signed, and what everybody who has it works out of it. */
export interface Announced {
  readonly announcement: Announcement
  /** To be passed on as it came: newer nodes may have said more than we read. */
  readonly sealed: Sealed
  readonly stages: readonly HostedStage[]
  /** Models of which it hosts blocks, and others that it waits for. */
  readonly hosts: ReadonlySet<string>
  readonly waits: ReadonlySet<string>
  /** What it could host. */
  readonly offer: Offer
  /** Models that it has pieces of. */
  readonly seeds: ReadonlySet<string>
  /** Equal for announcements that say the same, but for a new coordinate. */
  readonly content: string
  /** Those that the directory counts nodes of. */
  readonly subnets: readonly string[]
}

/** What somebody spread, signed by who it says it is by. */
export type Notice =
  | { readonly type: 'announcement'; readonly announced: Announced }
  | { readonly type: 'withdrawal'; readonly withdrawal: Withdrawal }
  | { readonly type: 'summary'; readonly summary: ModelSummary; readonly sealed: Sealed }

/** Checks signatures and reads what they are of. Each throws a `WireError` or a {@link SignatureError}. */
export interface Opener {
  open(gossip: Gossip): Notice | Promise<Notice>
  /** A message as it came. */
  read(message: Uint8Array): Notice | Promise<Notice>
}

/** Thrown for an announcement of somebody who may not take part. It is nobody's fault who passed it on. */
export class NotAdmittedError extends ShoalError {
  constructor(peer: string) {
    super('NOT_ADMITTED', `${peer} is no member of this swarm`)
  }
}

/** Whether the author of an announcement may take part. */
export type Admits = (announcement: Announcement) => boolean | Promise<boolean>

/** Answers are there at once where `verify` and `admits` answer at once. */
export function createOpener(verify: Verify, admits: Admits = () => true): Opener {
  const open = (message: Gossip): Notice | Promise<Notice> => {
    const [notice, author] = decode(message)
    const { type, payload, signature } = message
    return then(verify(author, signable(type, payload), signature), (isValid) => {
      if (!isValid) throw new SignatureError(type, author)
      if (notice.type !== 'announcement') return notice
      return then(admits(notice.announced.announcement), (isAdmitted) => {
        if (!isAdmitted) throw new NotAdmittedError(author)
        return notice
      })
    })
  }
  return { open, read: (message) => open(gossip.decode(message)) }
}

function then<A, B>(value: A | Promise<A>, use: (value: A) => B | Promise<B>): B | Promise<B> {
  return value instanceof Promise ? value.then(use) : use(value)
}

function decode({ type, payload, signature }: Gossip): [Notice, author: string] {
  const sealed = { payload, signature }
  if (type === 'announcement') {
    const announcement = announcements.decode(payload)
    return [{ type, announced: describe(announcement, sealed) }, announcement.peer]
  }
  if (type === 'withdrawal') {
    const withdrawal = withdrawals.decode(payload)
    return [{ type, withdrawal }, withdrawal.observer]
  }
  const summary = summaries.decode(payload)
  return [{ type, summary, sealed }, summary.observer]
}

function describe(announcement: Announcement, sealed: Sealed): Announced {
  const { peer, addresses, coordinate, stages, wants, extensions } = announcement
  const hosts = new Set(stages.map(({ model }) => model))
  return {
    ...{ announcement, sealed, hosts },
    stages: stages.map((stage) => ({ peer, addresses, stage, coordinate })),
    waits: new Set(wants.filter((model) => !hosts.has(model))),
    offer: decodeOffer(extensions[OFFER]),
    seeds: decodeSeeds(extensions[SEEDS]),
    content: contentOf(announcement),
    subnets: subnetsOf(addresses)
  }
}

/** Its author leaves: nothing that anybody follows is in it. */
export function isGoodbye({ hosts, waits, offer, seeds }: Announced): boolean {
  return hosts.size + waits.size + offer.size + seeds.size === 0
}

/** Of interest to those who follow the model. */
export function isAbout({ hosts, waits, offer, seeds }: Announced, model: string): boolean {
  return hosts.has(model) || waits.has(model) || offer.has(model) || seeds.has(model)
}

/** Equal for announcements that say the same, but for a new coordinate. */
export function contentOf({
  version,
  addresses,
  stages,
  wants,
  extensions
}: Pick<Announcement, 'version' | 'addresses' | 'stages' | 'wants' | 'extensions'>): string {
  const more = Object.entries(extensions).map(([name, bytes]) => [
    name,
    Buffer.from(bytes).toString('base64')
  ])
  return JSON.stringify([version, addresses, stages, wants, more])
}

/** As others will read it. */
export async function sealAnnouncement(announcement: Announcement, sign: Sign): Promise<Announced> {
  const payload = announcements.encode(announcement)
  return describe(announcements.decode(payload), await seal('announcement', payload, sign))
}

export function sealWithdrawal(withdrawal: Withdrawal, sign: Sign): Promise<Sealed> {
  return seal('withdrawal', withdrawals.encode(withdrawal), sign)
}

export function sealSummary(summary: ModelSummary, sign: Sign): Promise<Sealed> {
  return seal('summary', summaries.encode(summary), sign)
}

async function seal(kind: Kind, payload: Uint8Array, sign: Sign): Promise<Sealed> {
  return { payload, signature: await sign(signable(kind, payload)) }
}

/** Nothing that is signed for one purpose can be shown for another. */
function signable(kind: Kind, payload: Uint8Array): Uint8Array {
  const domain = new TextEncoder().encode(`shoal ${kind}\0`)
  const bytes = new Uint8Array(domain.byteLength + payload.byteLength)
  bytes.set(domain)
  bytes.set(payload, domain.byteLength)
  return bytes
}
