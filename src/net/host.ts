import type { Connection, PeerId, PrivateKey, Stream } from '@libp2p/interface'
import { peerIdFromPrivateKey, peerIdFromString } from '@libp2p/peer-id'
import { type Multiaddr, multiaddr } from '@multiformats/multiaddr'
import type { Libp2p } from 'libp2p'
import { RawControlStream } from './control-stream.ts'
import { isLoopback } from './dial-gate.ts'
import { NetError } from './errors.ts'
import { loadIdentity } from './identity.ts'
import { HANDSHAKE_TIMEOUT_MS, MAX_DIAL_ADDRESSES, MAX_SESSION_STREAMS, startLibp2p } from './libp2p.ts'
import * as protocols from './protocols.ts'
import { RawStream } from './raw-stream.ts'
import type { ControlStream, DataSender, Handlers, Host, HostInit, HostLogger } from './types.ts'
import type { Info } from './wire/types.ts'

const MAX_INFO_STREAMS = 8
const SILENT: HostLogger = { debug() {}, info() {}, warn() {}, error() {} }

type Protocol = keyof typeof protocols.MAX_UNSENT_BYTES
type Answer = (raw: RawStream, handlers: Handlers) => void | Promise<void>

const ANSWERS: Readonly<Record<Protocol, { answer: Answer; maxStreams: number }>> = {
  [protocols.CONTROL_PROTOCOL]: { answer: protocols.answerControl, maxStreams: MAX_SESSION_STREAMS },
  [protocols.DATA_PROTOCOL]: { answer: protocols.answerData, maxStreams: MAX_SESSION_STREAMS },
  [protocols.INFO_PROTOCOL]: { answer: protocols.answerInfo, maxStreams: MAX_INFO_STREAMS }
}

/** See {@link Host}. Throws {@link NetError} IDENTITY. */
export function createHost(init: HostInit): Host {
  return new Libp2pHost(init)
}

class Libp2pHost implements Host {
  readonly peerId: string
  readonly #key: PrivateKey
  readonly #listen: string[]
  readonly #mayDial: (address: string) => boolean
  readonly #logger: HostLogger
  readonly #disconnectListeners = new Set<(peer: string) => void>()
  #handlers: Handlers | undefined
  #libp2p: Libp2p | undefined
  #starting: Promise<void> | undefined

  constructor(init: HostInit) {
    this.#key = loadIdentity(init.identity)
    this.peerId = peerIdFromPrivateKey(this.#key).toString()
    this.#listen = init.listen
    this.#mayDial = init.dialGate ?? isLoopback
    this.#logger = init.logger ?? SILENT
  }

  get addresses(): string[] {
    return this.#libp2p?.getMultiaddrs().map(String) ?? []
  }

  get peers(): string[] {
    return this.#libp2p?.getPeers().map(String) ?? []
  }

  start(): Promise<void> {
    this.#starting ??= this.#start().catch((error: unknown) => {
      this.#starting = undefined
      throw error
    })
    return this.#starting
  }

  async #start(): Promise<void> {
    const libp2p = await startLibp2p(this.#key, this.#listen, this.#mayDial)
    for (const [protocol, { answer, maxStreams }] of Object.entries(ANSWERS)) {
      const handler = (stream: Stream, connection: Connection) =>
        this.#answer(protocol as Protocol, answer, stream, connection)
      await libp2p.handle(protocol, handler, {
        maxInboundStreams: maxStreams,
        maxOutboundStreams: maxStreams
      })
    }
    libp2p.addEventListener('peer:disconnect', (event) => {
      for (const listener of this.#disconnectListeners) listener(event.detail.toString())
    })
    this.#libp2p = libp2p
    this.#logger.info(`${this.peerId} listens on ${this.addresses.join(', ') || 'nothing'}`)
  }

  async stop(): Promise<void> {
    await this.#starting?.catch(() => {})
    const libp2p = this.#libp2p
    this.#libp2p = undefined
    this.#starting = undefined
    // Sessions end now: a graceful close would wait for every stream's other half.
    for (const connection of libp2p?.getConnections() ?? [])
      connection.abort(new NetError('STOPPED', 'this node is stopping'))
    await libp2p?.stop()
  }

  serve(handlers: Handlers): void {
    this.#handlers = handlers
  }

  onDisconnect(listener: (peer: string) => void): () => void {
    this.#disconnectListeners.add(listener)
    return () => this.#disconnectListeners.delete(listener)
  }

  async connect(address: string, signal?: AbortSignal): Promise<string> {
    const connection = await this.#dial(this.#dialable([address]), address, signal)
    return connection.remotePeer.toString()
  }

  async info(peer: string, addresses: string[], signal?: AbortSignal): Promise<Info> {
    return protocols.askInfo(await this.#open(protocols.INFO_PROTOCOL, peer, addresses, signal), signal)
  }

  async openControl(peer: string, addresses: string[], signal?: AbortSignal): Promise<ControlStream> {
    return new RawControlStream(await this.#open(protocols.CONTROL_PROTOCOL, peer, addresses, signal))
  }

  async openData(
    peer: string,
    addresses: string[],
    ticket: Uint8Array,
    signal?: AbortSignal
  ): Promise<DataSender> {
    return protocols.presentTicket(
      await this.#open(protocols.DATA_PROTOCOL, peer, addresses, signal),
      ticket,
      signal
    )
  }

  async #open(
    protocol: Protocol,
    peer: string,
    addresses: string[],
    signal?: AbortSignal
  ): Promise<RawStream> {
    const id = parsePeer(peer)
    const libp2p = this.#running()
    const open = libp2p.getConnections(id).find((connection) => connection.status === 'open')
    const connection = open ?? (await this.#dial(this.#dialable(addresses, peer), peer, signal))
    try {
      const stream = await connection.newStream(protocol, { signal: withDeadline(signal) })
      return new RawStream(stream, peer, protocols.MAX_UNSENT_BYTES[protocol])
    } catch (cause) {
      throw dialFailed(`${peer} did not open ${protocol}`, cause)
    }
  }

  async #dial(addresses: Multiaddr[], target: string, signal?: AbortSignal): Promise<Connection> {
    try {
      return await this.#running().dial(addresses, { signal: withDeadline(signal) })
    } catch (cause) {
      if (cause instanceof NetError) throw cause
      throw dialFailed(`cannot reach ${target}`, cause)
    }
  }

  /** Those that parse, are of the peer and that the gate lets through; the gate is asked again by libp2p. */
  #dialable(addresses: string[], peer?: string): Multiaddr[] {
    const denied: string[] = []
    const parsed = addresses.slice(0, MAX_DIAL_ADDRESSES).flatMap((address) => {
      try {
        const whole = multiaddr(
          peer === undefined || address.includes('/p2p/') ? address : `${address}/p2p/${peer}`
        )
        const answers = whole.getComponents().findLast(({ name }) => name === 'p2p')?.value
        if (peer !== undefined && answers !== peer) return [] // libp2p would take whoever answers there
        if (this.#mayDial(whole.toString())) return [whole]
      } catch {
        // Not an address of a kind that we know: what newer nodes have.
      }
      denied.push(address)
      return []
    })
    if (parsed.length > 0) return parsed
    const what = denied.length > 0 ? `may not dial ${denied.join(', ')}` : `know no address of ${peer}`
    throw new NetError('DIAL_DENIED', `${what}: join its swarm, or pass an address that this node may dial`)
  }

  #running(): Libp2p {
    if (this.#libp2p === undefined) throw new NetError('STOPPED', 'the host is not running: call start first')
    return this.#libp2p
  }

  #answer(protocol: Protocol, answer: Answer, stream: Stream, connection: Connection): void {
    const raw = new RawStream(stream, connection.remotePeer.toString(), protocols.MAX_UNSENT_BYTES[protocol])
    void raw.closed.then((error) => {
      if (error !== undefined) this.#logger.debug(`${protocol} from ${raw.peer}: ${error.message}`)
    })
    const fail = (error: unknown) => raw.abort(error instanceof Error ? error : new Error(String(error)))
    try {
      if (this.#handlers === undefined) throw new NetError('REFUSED', 'this node serves nobody')
      Promise.resolve(answer(raw, this.#handlers)).catch(fail)
    } catch (error) {
      fail(error)
    }
  }
}

function withDeadline(signal: AbortSignal | undefined): AbortSignal {
  const deadline = AbortSignal.timeout(HANDSHAKE_TIMEOUT_MS)
  return signal === undefined ? deadline : AbortSignal.any([signal, deadline])
}

function parsePeer(peer: string): PeerId {
  try {
    return peerIdFromString(peer)
  } catch (cause) {
    throw new NetError('DIAL_FAILED', `${peer} is not a peer id`, { cause })
  }
}

function dialFailed(message: string, cause: unknown): NetError {
  return new NetError(
    'DIAL_FAILED',
    `${message}: ${cause instanceof Error ? cause.message : String(cause)}`,
    { cause }
  )
}
