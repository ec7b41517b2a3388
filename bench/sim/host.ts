/** A machine's network: connections that stay, requests and their delays, gossip, and what becomes of both when it dies. */
import type { PeerAddress, SwarmAnswer, SwarmRequest } from '../../src/net/index.ts'
import { gossip } from '../../src/net/index.ts'
import type { ParticipantComponents } from '../../src/node/participant.ts'
import type { Member } from './gossip.ts'
import type { SimNetwork } from './network.ts'
import { BYTES_AROUND, DIAL_BYTES, noCounts, REQUEST_BYTES } from './traffic.ts'

type Network = ParticipantComponents['host']
type Judge = Parameters<Network['subscribe']>[1]

/** As the real host's. */
const MOST_CONNECTIONS = 256
const DIAL_MS = 10_000
/** A silent connection is noticed by pings: every 10 s, 15 s to answer. */
const NOTICED_MS = { least: 10_000, most: 25_000 }
/** TCP and Noise, multistream and identify. */
const DIAL_ROUND_TRIPS = 4
/** 10 Mbit/s up. */
const BYTES_PER_MS = 1_250
/** A lookup in Kademlia asks some nodes one after the other. */
const LOOKUP_ROUND_TRIPS = 4
const LOOKUP_MESSAGES = 20
/** Most that one answer names. */
const PROVIDERS = 20

/** What becomes of a machine: `refuses` connections (the process died), or says nothing any more. */
export type Death = 'refuses' | 'silent'

export class SimHost implements Network {
  readonly peerId: string
  readonly index: number
  readonly addresses: string[]
  counts = noCounts()
  isAlive = true
  death: Death = 'refuses'
  /** Round trips, in milliseconds, by connection; the oldest first. */
  readonly links = new Map<SimHost, number>()
  /** By topic. */
  readonly members = new Map<string, Member>()
  /** What it says when asked. */
  answer: ((peer: string, request: SwarmRequest) => Promise<SwarmAnswer>) | undefined
  readonly #network: SimNetwork
  readonly #onConnect = new Set<(peer: string) => void>()
  readonly #onDisconnect = new Set<(peer: string) => void>()

  constructor(network: SimNetwork, index: number) {
    this.#network = network
    this.index = index
    this.peerId = `12D3KooW${String(index).padStart(44, 'x')}`
    // Of names no networks are known: how the directory limits networks is not what is simulated.
    this.addresses = ['tcp/8643', 'tcp/8644/ws', 'udp/8643/webrtc-direct', 'tcp/9001'].map(
      (way) => `/dns4/home-${String(index).padStart(6, '0')}.example/${way}/p2p/${this.peerId}`
    )
  }

  get peers(): string[] {
    return Array.from(this.links.keys(), ({ peerId }) => peerId)
  }

  onConnect(listener: (peer: string) => void): () => void {
    this.#onConnect.add(listener)
    return () => this.#onConnect.delete(listener)
  }

  onDisconnect(listener: (peer: string) => void): () => void {
    this.#onDisconnect.add(listener)
    return () => this.#onDisconnect.delete(listener)
  }

  onDiscovered(): () => void {
    return () => {}
  }

  addressesOf(peer: string): string[] {
    return this.#network.hosts.get(peer)?.addresses ?? []
  }

  async sign(): Promise<Uint8Array> {
    return SIGNATURE
  }

  subscribe(topic: string, judge: Judge): () => void {
    const member = this.#network.gossip.join(this, topic, judge)
    return () => {
      if (this.members.get(topic) === member) this.members.delete(topic)
      this.#network.gossip.leave(member)
    }
  }

  async publish(topic: string, message: Uint8Array): Promise<void> {
    if (this.isAlive) this.#network.gossip.publish(this, topic, gossip.decode(message).type, message)
  }

  async connect(address: string, signal?: AbortSignal): Promise<string> {
    const peer = address.split('/p2p/')[1] as string
    await this.#reach(peer, signal)
    return peer
  }

  async ask(
    peer: string,
    _addresses: readonly string[],
    request: SwarmRequest,
    signal?: AbortSignal
  ): Promise<SwarmAnswer> {
    if (this.#network.isInstant || peer === this.peerId) return this.#askNow(peer, request)
    const other = await this.#reach(peer, signal)
    const halfMs = this.#network.roundTripMs(this, other) / 2
    const { kinds } = this.#network
    kinds.add(`asked: ${request.type}`, 1, REQUEST_BYTES + BYTES_AROUND)
    carry(this, other, REQUEST_BYTES + BYTES_AROUND)
    await this.#wait(halfMs, signal)
    if (!other.isAlive || other.answer === undefined) return await this.#hang(other, signal)
    const answer = await other.answer(this.peerId, request)
    const bytes = sizeOf(answer) + BYTES_AROUND
    kinds.add(`answered: ${answer.type}`, 1, bytes)
    carry(other, this, bytes)
    await this.#wait(halfMs + bytes / BYTES_PER_MS, signal)
    return answer
  }

  async #askNow(peer: string, request: SwarmRequest): Promise<SwarmAnswer> {
    const answer = this.#network.hosts.get(peer)?.answer
    if (answer === undefined) throw new Error(`${peer} does not answer`)
    return answer(this.peerId, request)
  }

  async ping(peer: string, signal?: AbortSignal): Promise<number> {
    const other = this.#network.hosts.get(peer) as SimHost
    if (!this.links.has(other)) throw new Error(`${peer} is not connected`)
    const ms = this.#network.roundTripMs(this, other)
    await this.#wait(ms, signal)
    if (!other.isAlive) return await this.#hang(other, signal)
    return ms
  }

  cut(peer: string): void {
    this.#network.kinds.add('cut')
    const other = this.#network.hosts.get(peer)
    if (other !== undefined) this.disconnect(other)
  }

  async provide(model: string): Promise<void> {
    this.#network.kinds.add('kademlia: messages', LOOKUP_MESSAGES)
    await this.#wait(LOOKUP_ROUND_TRIPS * this.#network.typicalMs)
    this.#network.provided(model, this)
  }

  async *findProviders(model: string, signal?: AbortSignal): AsyncGenerator<PeerAddress> {
    this.#network.kinds.add('kademlia: messages', LOOKUP_MESSAGES)
    await this.#wait(LOOKUP_ROUND_TRIPS * this.#network.typicalMs, signal)
    for (const { peerId: peer, addresses } of this.#network.providersOf(model, PROVIDERS))
      yield { peer, addresses }
  }

  /** Without a word, or after goodbye. */
  die(death: Death): void {
    this.isAlive = false
    this.death = death
    const { clock, random, gossip: mesh } = this.#network
    for (const other of this.links.keys()) {
      const ms =
        death === 'refuses' ? 100 : NOTICED_MS.least + (NOTICED_MS.most - NOTICED_MS.least) * random()
      clock.after(ms, () => other.disconnect(this))
    }
    clock.after(NOTICED_MS.most + 1, () => {
      for (const member of this.members.values()) mesh.leave(member)
      this.members.clear()
    })
    this.answer = undefined
  }

  disconnect(other: SimHost): void {
    if (!this.links.has(other)) return
    this.#network.gossip.disconnected(this, other)
    this.links.delete(other)
    other.links.delete(this)
    for (const listener of this.#onDisconnect) listener(other.peerId)
    for (const listener of other.#onDisconnect) listener(this.peerId)
  }

  /** A connection, if there is none. */
  async #reach(peer: string, signal?: AbortSignal): Promise<SimHost> {
    const { hosts, kinds } = this.#network
    const other = hosts.get(peer)
    if (!this.isAlive) return NEVER
    if (other === undefined) throw new Error(`nobody is ${peer}`)
    if (this.links.has(other)) return other
    const ms = this.#network.roundTripMs(this, other)
    if (!other.isAlive) {
      kinds.add('dials: in vain')
      await this.#wait(other.death === 'refuses' ? ms : DIAL_MS, signal)
      throw new Error(`${peer} does not answer`)
    }
    kinds.add('dials', 1, DIAL_BYTES)
    carry(this, other, DIAL_BYTES / 2)
    carry(other, this, DIAL_BYTES / 2)
    await this.#wait(DIAL_ROUND_TRIPS * ms, signal)
    if (!other.isAlive) throw new Error(`${peer} does not answer`)
    if (!this.isAlive || this.links.has(other)) return other
    const rttMs = this.#network.usualMs(this, other)
    for (const [one, to] of [
      [this, other],
      [other, this]
    ] as const) {
      one.links.set(to, rttMs)
      one.#makeRoom(to)
    }
    this.#network.gossip.connected(this, other)
    for (const listener of this.#onConnect) listener(other.peerId)
    for (const listener of other.#onConnect) listener(this.peerId)
    return other
  }

  /** The oldest connection goes that no mesh needs. */
  #makeRoom(newest: SimHost): void {
    if (this.links.size <= MOST_CONNECTIONS) return
    const needed = new Set([...this.members.values()].flatMap(({ mesh }) => mesh.map(({ host }) => host)))
    for (const other of this.links.keys()) {
      if (other === newest || needed.has(other)) continue
      this.disconnect(other)
      return
    }
  }

  /** It will not answer: the connection breaks when pings notice. */
  async #hang(other: SimHost, signal: AbortSignal | undefined): Promise<never> {
    await this.#wait(other.death === 'refuses' ? 0 : NOTICED_MS.most, signal)
    throw new Error(`${other.peerId} does not answer`)
  }

  #wait(ms: number, signal?: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      if (signal?.aborted) return reject(signal.reason)
      const abort = (): void => reject(signal?.reason)
      signal?.addEventListener('abort', abort, { once: true })
      this.#network.clock.after(ms, () => {
        signal?.removeEventListener('abort', abort)
        resolve()
      })
    })
  }
}

/** The dead wait for everything. */
const NEVER = new Promise<never>(() => {})

const SIGNATURE = new Uint8Array(64)

function carry(from: SimHost, to: SimHost, bytes: number): void {
  from.counts.asked += 1
  to.counts.asked += 1
  from.counts.bytesOut += bytes
  to.counts.bytesIn += bytes
}

/** About what it takes on the wire. */
function sizeOf(answer: SwarmAnswer): number {
  const SEALED = 96
  if (answer.type === 'directory') {
    const sealed = [...answer.announcements.map((aged) => aged.sealed), ...answer.summaries]
    return sealed.reduce((sum, { payload }) => sum + payload.byteLength + SEALED, 0)
  }
  if (answer.type === 'probe') return (answer.announcement?.payload.byteLength ?? 0) + 2 * SEALED
  return REQUEST_BYTES + SEALED
}
