import type { Connection, PeerInfo, PrivateKey } from '@libp2p/interface'
import { peerIdFromPrivateKey } from '@libp2p/peer-id'
import { systemClock } from '../common/index.ts'
import { Answers } from './answers.ts'
import { Connections, directFirst, type Protocol, withPeer } from './connections.ts'
import { RawControlStream } from './control-stream.ts'
import { dialScope } from './dial-gate.ts'
import { NetError } from './errors.ts'
import { Gate } from './gate.ts'
import { Gossip } from './gossip.ts'
import { loadIdentity } from './identity.ts'
import { findProviders, provide } from './kademlia.ts'
import { KnownAddresses } from './known-addresses.ts'
import { createNode, type Libp2pNode } from './libp2p.ts'
import { Loopback } from './loopback.ts'
import { RawPieceStream } from './piece-stream.ts'
import * as protocols from './protocols.ts'
import type { RawStream } from './raw-stream.ts'
import * as requests from './requests.ts'
import type {
  ControlStream,
  DataSender,
  Discovered,
  Handlers,
  Host,
  HostInit,
  HostLogger,
  Judge,
  PieceStream
} from './types.ts'
import { WireError } from './wire/errors.ts'
import { MAX_GOSSIP_BYTES } from './wire/limits.ts'
import type { Info, PeerAddress, SwarmAnswer, SwarmRequest } from './wire/types.ts'

/** Long enough that a broken loop does no harm, short enough that its owner need not wait for long once it is mended. */
const FLOOD_CUT_MS = 5 * 60_000
const SILENT: HostLogger = { debug() {}, info() {}, warn() {}, error() {} }

/** See {@link Host}. Throws {@link NetError} IDENTITY. */
export function createHost(init: HostInit): Host {
  return new Libp2pHost(init)
}

class Listeners<T> {
  readonly #listeners = new Set<(value: T) => void>()

  /** Returns how to stop listening. */
  add(listener: (value: T) => void): () => void {
    this.#listeners.add(listener)
    return () => this.#listeners.delete(listener)
  }

  tell(value: T): void {
    for (const listener of this.#listeners) listener(value)
  }
}

interface Running {
  libp2p: Libp2pNode
  connections: Connections
}

class Libp2pHost implements Host {
  readonly peerId: string
  readonly #init: HostInit
  readonly #key: PrivateKey
  readonly #gate: Gate
  readonly #answers: Answers
  readonly #loopback: Loopback
  readonly #logger: HostLogger
  readonly #known = new KnownAddresses()
  readonly #connected = new Listeners<string>()
  readonly #disconnected = new Listeners<string>()
  readonly #discovered = new Listeners<Discovered>()
  /** Connected peers that have said who they are. */
  readonly #identified = new Set<string>()
  readonly #gossip: Gossip
  #node: Running | undefined
  #starting: Promise<void> | undefined

  constructor(init: HostInit) {
    const clock = init.clock ?? systemClock
    this.#init = init
    this.#key = loadIdentity(init.identity)
    this.peerId = peerIdFromPrivateKey(this.#key).toString()
    this.#gate = new Gate(clock, init.dialGate ?? dialScope('loopback'), init.gate)
    this.#logger = init.logger ?? SILENT
    this.#gossip = new Gossip(clock, this.#logger)
    this.#answers = new Answers(clock, this.#logger, (peer) =>
      this.cut(peer, 'too many requests', FLOOD_CUT_MS)
    )
    this.#loopback = new Loopback(this.peerId, () => this.#answers.handlers, this.#logger)
  }

  get addresses(): string[] {
    return this.#node?.libp2p.getMultiaddrs().map(String) ?? []
  }

  get peers(): string[] {
    return this.#node?.libp2p.getPeers().map(String) ?? []
  }

  start(): Promise<void> {
    this.#starting ??= this.#start().catch((error: unknown) => {
      this.#starting = undefined
      throw error
    })
    return this.#starting
  }

  async #start(): Promise<void> {
    const { listen, preSharedKey, kademlia, mdns, nat } = this.#init
    const libp2p = await createNode({
      privateKey: this.#key,
      listen,
      mayDial: (address) => this.#gate.mayDial(address),
      gater: this.#gate.forLibp2p(),
      preSharedKey,
      kademlia,
      mdns,
      nat
    })
    this.#gate.watch(libp2p)
    this.#listen(libp2p)
    await this.#answers.register(libp2p)
    await libp2p.start()
    this.#node = { libp2p, connections: new Connections(libp2p, this.#gate) }
    this.#gossip.start(libp2p.services.gossip)
    this.#logger.info(`${this.peerId} listens on ${this.addresses.join(', ') || 'nothing'}`)
  }

  #listen(libp2p: Libp2pNode): void {
    libp2p.addEventListener('peer:identify', ({ detail: { peerId, connection, listenAddrs } }) => {
      const peer = peerId.toString()
      this.#known.hear(peer, listenAddrs)
      this.#gossip.dropEnded(peer)
      if (connection.status !== 'open' || this.#identified.has(peer)) return
      this.#identified.add(peer)
      this.#connected.tell(peer)
    })
    libp2p.addEventListener('connection:close', ({ detail: { remotePeer } }) => {
      // Gossipsub keeps to one connection, and takes another one when it is identified.
      const [other] = directFirst(libp2p.getConnections(remotePeer))
      if (other !== undefined) void libp2p.services.identify.identify(other).catch(() => {})
    })
    libp2p.addEventListener('peer:disconnect', ({ detail }) => {
      this.#identified.delete(detail.toString())
      this.#disconnected.tell(detail.toString())
    })
    const discovered = ({ detail: { id, multiaddrs } }: CustomEvent<PeerInfo>, isNear: boolean) => {
      if (multiaddrs.length === 0 || libp2p.getConnections(id).length > 0) return
      this.#discovered.tell({ peer: id.toString(), addresses: multiaddrs.map(String), isNear })
    }
    libp2p.addEventListener('peer:discovery', (event) => discovered(event, false)) // once for each
    // Again and again: a neighbour may have moved.
    libp2p.services.mdns?.addEventListener('peer', (event) => discovered(event, true))
  }

  async stop(): Promise<void> {
    await this.#starting?.catch(() => {})
    const libp2p = this.#node?.libp2p
    this.#node = undefined
    this.#starting = undefined
    this.#identified.clear()
    this.#gossip.stop()
    // Sessions end now: a graceful close would wait for every stream's other half.
    const reason = new NetError('STOPPED', 'this node is stopping')
    this.#loopback.stop(reason)
    end(libp2p?.getConnections() ?? [], reason)
    await libp2p?.stop()
  }

  serve(handlers: Handlers): void {
    this.#answers.serve(handlers)
  }

  onConnect(listener: (peer: string) => void): () => void {
    return this.#connected.add(listener)
  }

  onDisconnect(listener: (peer: string) => void): () => void {
    return this.#disconnected.add(listener)
  }

  onDiscovered(listener: (peer: Discovered) => void): () => void {
    return this.#discovered.add(listener)
  }

  async connect(address: string, signal?: AbortSignal): Promise<string> {
    const connection = await this.#running().connections.dial([address], undefined, signal)
    return connection.remotePeer.toString()
  }

  async info(peer: string, addresses: string[], signal?: AbortSignal): Promise<Info> {
    if (peer === this.peerId) return this.#self.info()
    return requests.askInfo(await this.#open(protocols.INFO_PROTOCOL, peer, addresses, signal), signal)
  }

  async openControl(peer: string, addresses: string[], signal?: AbortSignal): Promise<ControlStream> {
    if (peer === this.peerId) return this.#self.openControl(signal)
    return new RawControlStream(await this.#open(protocols.CONTROL_PROTOCOL, peer, addresses, signal))
  }

  async openData(
    peer: string,
    addresses: string[],
    ticket: Uint8Array,
    signal?: AbortSignal
  ): Promise<DataSender> {
    if (peer === this.peerId) return this.#self.openData(ticket, signal)
    const raw = await this.#open(protocols.DATA_PROTOCOL, peer, addresses, signal)
    return protocols.presentTicket(raw, ticket, signal)
  }

  async openPieces(peer: string, addresses: string[], signal?: AbortSignal): Promise<PieceStream> {
    return new RawPieceStream(await this.#open(protocols.PIECES_PROTOCOL, peer, addresses, signal))
  }

  async ask(
    peer: string,
    addresses: string[],
    request: SwarmRequest,
    signal?: AbortSignal
  ): Promise<SwarmAnswer> {
    if (peer === this.peerId) return this.#self.ask(request, signal)
    signal?.throwIfAborted()
    try {
      const raw = await this.#open(protocols.SWARM_PROTOCOL, peer, addresses, signal)
      return await requests.askSwarm(raw, request, signal)
    } catch (error) {
      signal?.throwIfAborted()
      throw error
    }
  }

  async ping(peer: string, signal?: AbortSignal): Promise<number> {
    if (this.#running().connections.to(peer).length === 0) {
      throw new NetError('CLOSED', `${peer} is not connected`)
    }
    return requests.ping(await this.#open(protocols.PING_PROTOCOL, peer, [], signal), signal)
  }

  async sign(bytes: Uint8Array): Promise<Uint8Array> {
    return this.#key.sign(bytes)
  }

  subscribe(topic: string, judge: Judge): () => void {
    return this.#gossip.subscribe(topic, judge)
  }

  async publish(topic: string, message: Uint8Array): Promise<void> {
    if (message.byteLength > MAX_GOSSIP_BYTES) {
      throw new WireError(
        'TOO_LARGE',
        `a message of ${message.byteLength} bytes: at most ${MAX_GOSSIP_BYTES}`
      )
    }
    await this.#running().libp2p.services.gossip.publish(topic, message)
  }

  async provide(model: string, signal?: AbortSignal): Promise<void> {
    const { kademlia } = this.#running().libp2p.services
    if (kademlia !== undefined) await provide(kademlia, model, { signal })
  }

  async *findProviders(model: string, signal?: AbortSignal): AsyncGenerator<PeerAddress> {
    const { kademlia } = this.#running().libp2p.services
    if (kademlia === undefined) return
    for await (const found of findProviders(kademlia, model, { signal })) {
      if (found.peer !== this.peerId) yield found
    }
  }

  cut(peer: string, reason: string, ms: number): void {
    this.#logger.warn(`no connections with ${peer} for ${Math.ceil(ms / 1000)} s: ${reason}`)
    this.#gate.cut(peer, ms)
    end(this.#node?.connections.to(peer) ?? [], new NetError('REFUSED', reason))
  }

  addressesOf(peer: string): string[] {
    const dialled = (this.#node?.connections.to(peer) ?? []).filter(
      ({ direction }) => direction === 'outbound'
    )
    // Others have to begin with the relay, too.
    const remotes = dialled.map(({ remoteAddr }) => remoteAddr.toString().replace('/webrtc/p2p/', '/p2p/'))
    const all = [...remotes, ...this.#known.of(peer)]
    const unique = [...new Set(all.map((address) => withPeer(address, peer)))]
    const isRelayed = (address: string) => Number(address.includes('/p2p-circuit'))
    return unique.sort((a, b) => isRelayed(a) - isRelayed(b))
  }

  wayTo(peer: string): 'direct' | 'relay' | undefined {
    const [first] = this.#node?.connections.to(peer) ?? []
    if (first === undefined) return undefined
    return first.limits === undefined ? 'direct' : 'relay'
  }

  #open(protocol: Protocol, peer: string, addresses: string[], signal?: AbortSignal): Promise<RawStream> {
    return this.#running().connections.open(protocol, peer, addresses, signal)
  }

  /** Streams to this node itself. */
  get #self(): Loopback {
    this.#running()
    return this.#loopback
  }

  #running(): Running {
    if (this.#node === undefined) throw new NetError('STOPPED', 'the host is not running: call start first')
    return this.#node
  }
}

function end(connections: Connection[], error: Error): void {
  for (const connection of connections) {
    try {
      connection.abort(error)
    } catch {
      // It went through a relay, and its way there is gone: it has ended already.
    }
  }
}
