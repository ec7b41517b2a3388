/** A node's part in a private swarm: whom it takes for a member, and whom it admits if it is the founder's. */
import { join } from 'node:path'
import { type Clock, type Startable, systemClock, VERSION } from '../common/index.ts'
import {
  type Announcement,
  announcements,
  type Host,
  type PeerLists,
  type Sealed,
  type SwarmAnswer,
  type SwarmRequest
} from '../net/index.ts'
import {
  type Certified,
  checkCertificate,
  issueCertificate,
  type Role,
  readGrant,
  type SwarmName,
  sealAnnouncement,
  swarmId
} from '../swarm/index.ts'
import { Admissions } from './membership-admissions.ts'
import type { PrivateSwarm, SwarmFile } from './swarm-file.ts'

/** From a connection to a valid certificate. A newcomer is admitted meanwhile, a slow node gets to know its swarm. */
const SHOW_MS = 10_000
/** For an answer with it: there is time for two. */
const ASK_MS = SHOW_MS / 2
/** Who shows none is not let in again for so long: it may have been admitted by then. */
const CUT_MS = 60_000

type MembershipHost = Pick<Host, 'peerId' | 'peers' | 'ask' | 'cut' | 'onConnect' | 'sign'>

export interface MembershipComponents {
  readonly host: MembershipHost
  readonly clock?: Clock
}

export interface MembershipInit {
  readonly swarm: PrivateSwarm
  /** Where the founder's node remembers whom it admitted. */
  readonly folder: string
}

export class Membership implements Startable {
  /** The pre-shared key. */
  readonly key: Uint8Array
  readonly #host: MembershipHost
  readonly #clock: Clock
  readonly #swarm: PrivateSwarm
  readonly #name: SwarmName
  readonly #admissions: Admissions | undefined
  readonly #allowed: ReadonlySet<string>
  readonly #blocked: ReadonlySet<string>
  /** Those that have shown a certificate, with its bytes. */
  readonly #members = new Map<string, Certified & { readonly bytes: Uint8Array }>()
  readonly #asking = new Map<string, Promise<void>>()
  readonly #life = new AbortController()
  #shown: ReturnType<typeof sealAnnouncement> | undefined
  #stopListening: (() => void) | undefined

  constructor({ host, clock = systemClock }: MembershipComponents, { swarm, folder }: MembershipInit) {
    this.key = swarm.key
    this.#host = host
    this.#clock = clock
    this.#swarm = swarm
    this.#name = { id: swarmId(swarm.key), founder: swarm.founder }
    this.#allowed = new Set(swarm.allow)
    this.#blocked = new Set(swarm.block)
    if (swarm.founder === host.peerId) this.#admissions = new Admissions(join(folder, 'admissions.db'))
  }

  /** This node's own, for its announcements. */
  get certificate(): Uint8Array {
    return this.#swarm.certificate
  }

  /** Watches over connections: who shows no certificate in time is cut. */
  async start(): Promise<void> {
    if (this.#stopListening !== undefined) return
    this.#stopListening = this.#host.onConnect((peer) => this.#expect(peer))
    for (const peer of this.#host.peers) this.#expect(peer)
  }

  async stop(): Promise<void> {
    this.#life.abort()
    this.#stopListening?.()
    this.#admissions?.close()
  }

  /**
   * Whether an announcement, whose signature has been checked, is one of a member that may say so. It is for gossip's
   * judge: it asks nobody.
   */
  admits({ peer, certificate, stages }: Announcement): boolean {
    return this.#learn(peer, certificate) && (stages.length === 0 || this.#has(peer, 'provider'))
  }

  /** Whether a peer is a member, with this role if one is given. One that is not known yet is asked to show it. */
  async allows(peer: string, role?: Role): Promise<boolean> {
    if (!this.#has(peer)) await this.#probe(peer)
    return this.#has(peer, role)
  }

  /** Answers what is for a private swarm alone, and lets only members ask `serve` for the rest. */
  async answer(
    peer: string,
    request: SwarmRequest,
    serve: (peer: string, request: SwarmRequest) => SwarmAnswer | Promise<SwarmAnswer>
  ): Promise<SwarmAnswer> {
    if (request.type === 'admit') return this.#admit(peer, request.grant)
    // Its answer has the certificate: if both waited for the other's, nobody would show any.
    if (request.type === 'probe') return this.#show(await serve(peer, request))
    const role = request.type === 'assign' ? 'planner' : undefined
    if (await this.allows(peer, role)) return serve(peer, request)
    const message =
      role === undefined ? 'show a certificate of this swarm first' : `you are not a ${role} here`
    return { type: 'refused', code: 'membership', message }
  }

  /** Who has nothing to announce shows its certificate, too: in an announcement too old to be taken for one. */
  async #show(answer: SwarmAnswer): Promise<SwarmAnswer> {
    if (answer.type !== 'probe' || answer.announcement !== undefined) return answer
    const { peerId: peer } = this.#host
    const { certificate } = this
    const nothing = { sequence: 0, ttlSeconds: 1, addresses: [], stages: [], wants: [], extensions: {} }
    this.#shown ??= sealAnnouncement({ ...nothing, peer, version: VERSION, certificate }, (bytes) =>
      this.#host.sign(bytes)
    )
    return { ...answer, announcement: (await this.#shown).sealed }
  }

  async #admit(peer: string, sealed: Sealed): Promise<SwarmAnswer> {
    const refuse = (message: string): SwarmAnswer => ({
      type: 'admit',
      certificate: new Uint8Array(),
      message
    })
    const now = this.#clock.wall()
    if (this.#admissions === undefined) {
      return refuse(`only the founder's node admits newcomers: ${this.#name.founder}`)
    }
    if (!this.#isWelcome(peer)) return refuse('the lists of its node keep this machine out')
    const grant = readGrant(sealed, this.#name)
    if (grant === undefined) return refuse('the invitation is not for this swarm')
    if (grant.expires <= now)
      return refuse(`the invitation expired at ${new Date(grant.expires).toISOString()}`)
    if (!this.#admissions.take(grant, peer, now)) return refuse('the invitation has been used already')
    const issue = { peer, roles: grant.roles, issued: now }
    const certificate = await issueCertificate(issue, this.#name.id, (bytes) => this.#host.sign(bytes))
    this.#learn(peer, certificate)
    return { type: 'admit', certificate, message: '' }
  }

  /** Some time for a certificate, and then none. */
  #expect(peer: string): void {
    void this.allows(peer)
    this.#clock.after(ASK_MS, () => void this.allows(peer)) // it may only have begun
    this.#clock.after(SHOW_MS, () => {
      if (this.#life.signal.aborted || this.#has(peer) || !this.#host.peers.includes(peer)) return
      this.#host.cut(peer, 'it shows no certificate of this private swarm', CUT_MS)
    })
  }

  /** Asks a peer for its certificate; the connection proves who it is. */
  #probe(peer: string): Promise<void> {
    const asked = this.#asking.get(peer)
    if (asked !== undefined) return asked
    const asking = this.#ask(peer).finally(() => this.#asking.delete(peer))
    this.#asking.set(peer, asking)
    return asking
  }

  async #ask(peer: string): Promise<void> {
    const signal = AbortSignal.any([this.#life.signal, AbortSignal.timeout(ASK_MS)])
    try {
      const answer = await this.#host.ask(peer, [], { type: 'probe' }, signal)
      if (answer.type !== 'probe' || answer.announcement === undefined) return
      const { certificate } = announcements.decode(answer.announcement.payload)
      this.#learn(peer, certificate)
    } catch {
      // It is gone, or does not answer in a way that anybody would understand: it has shown nothing.
    }
  }

  /** Whether these bytes are a certificate of this peer's, who is welcome. */
  #learn(peer: string, bytes: Uint8Array): boolean {
    const known = this.#members.get(peer)
    if (known !== undefined && Buffer.compare(known.bytes, bytes) === 0) return this.#has(peer)
    const certified = checkCertificate(bytes, this.#name)
    if (certified?.peer !== peer || !this.#isValid(certified)) return false
    // An old one, said again by whoever kept it, takes no role away.
    if (known === undefined || known.issued <= certified.issued) {
      this.#forgetExpired()
      this.#members.set(peer, { ...certified, bytes })
    }
    return true
  }

  #has(peer: string, role?: Role): boolean {
    const member = this.#members.get(peer)
    return (
      member !== undefined && this.#isValid(member) && (role === undefined || member.roles.includes(role))
    )
  }

  #isValid({ peer, member, expires }: Certified): boolean {
    return expires > this.#clock.wall() && this.#isWelcome(member) && !this.#blocked.has(peer)
  }

  #isWelcome(member: string): boolean {
    return !this.#blocked.has(member) && (this.#allowed.size === 0 || this.#allowed.has(member))
  }

  #forgetExpired(): void {
    for (const [peer, { expires }] of this.#members) {
      if (expires <= this.#clock.wall()) this.#members.delete(peer)
    }
  }
}

/**
 * What a host is told of the lists. In a private swarm, the allow list is for the {@link Membership} to judge: an
 * allowed member's deputies have peer ids of their own, and show by their certificates whose they are.
 */
export function peerLists({ kind, allow, block }: SwarmFile): PeerLists {
  const isAllowList = kind !== 'private' && allow.length > 0
  return { block: new Set(block), ...(isAllowList ? { allow: new Set(allow) } : {}) }
}
