/** The server below the routes: what connections may do before and while there is a request. */
import { createServer, type IncomingMessage, type Server, type ServerResponse, STATUS_CODES } from 'node:http'
import type { Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import type { Clock } from '../common/index.ts'
import { networkOf, plainAddress } from './address.ts'
import { openaiError } from './dialects/failures.ts'
import { GatewayError } from './errors.ts'
import type { Settings } from './settings.ts'

/** Of headers: cookies and long keys fit. */
const MAX_HEADER_BYTES = 16 * 1024
/** How often it is looked who is late. */
const CHECK_MS = 1_000
/** Longer than proxies keep theirs (60 s), so that none sends into a connection that ends. */
const KEEP_ALIVE_MS = 65_000

type Listener = (incoming: IncomingMessage, outgoing: ServerResponse) => void

export interface ConnectionsComponents {
  readonly clock: Clock
  /** Carries many clients. */
  readonly isProxy: (address: string) => boolean
  readonly onRefused: (reason: string) => void
}

/** An HTTP server that ends connections whose other end dribbles, floods or does not read. */
export class Connections {
  readonly #components: ConnectionsComponents
  readonly #settings: Settings
  readonly #counts = new Map<string, number>()
  /** The answer that a connection is at. */
  readonly #answering = new WeakMap<Duplex, ServerResponse>()
  #open = 0

  constructor(components: ConnectionsComponents, settings: Settings) {
    this.#components = components
    this.#settings = settings
  }

  get open(): number {
    return this.#open
  }

  createServer = (_: object, listener?: Listener): Server => {
    const { headersMs, requestMs, maxConnections } = this.#settings
    const options = {
      maxHeaderSize: MAX_HEADER_BYTES,
      headersTimeout: headersMs,
      requestTimeout: requestMs,
      connectionsCheckingInterval: Math.min(CHECK_MS, headersMs),
      keepAliveTimeout: KEEP_ALIVE_MS
    }
    const server = createServer(options, (incoming, outgoing) => {
      this.#answering.set(incoming.socket, outgoing)
      this.#watch(outgoing)
      listener?.(incoming, outgoing)
    })
    server.maxConnections = maxConnections
    server.on('connection', (socket: Socket) => this.#opened(socket))
    server.on('clientError', (error: NodeJS.ErrnoException, socket) => this.#failed(error, socket))
    return server
  }

  #opened(socket: Socket): void {
    this.#open += 1
    const { isPublic, connectionsPerAddress } = this.#settings
    const address = plainAddress(socket.remoteAddress ?? '') ?? 'unknown'
    const network = networkOf(address)
    const count = (this.#counts.get(network) ?? 0) + 1
    this.#counts.set(network, count)
    socket.once('close', () => {
      this.#open -= 1
      const left = (this.#counts.get(network) ?? 1) - 1
      if (left > 0) this.#counts.set(network, left)
      else this.#counts.delete(network)
    })
    if (!isPublic || count <= connectionsPerAddress || this.#components.isProxy(address)) return
    this.#components.onRefused('connections')
    refuse(
      socket,
      new GatewayError('LIMITED', 'too many connections from your address', { retryAfterSeconds: 5 })
    )
  }

  /** What never became a request: llhttp's errors, and those of times that are up. */
  #failed({ code }: NodeJS.ErrnoException, socket: Duplex): void {
    const answer = this.#answering.get(socket)
    const isAnswering = answer?.headersSent === true && !answer.writableFinished
    if (code === 'ECONNRESET' || !socket.writable || isAnswering) return void socket.destroy()
    const [reason, status, error] = sayWhy(code)
    this.#components.onRefused(reason)
    refuse(socket, error, status)
  }

  /** A reader that takes nothing is cut off: it has a place that others wait for. */
  #watch(outgoing: ServerResponse): void {
    const { clock } = this.#components
    const { stallMs } = this.#settings
    let sent = -1
    let stopLooking = (): void => {}
    const look = (): void => {
      const { socket } = outgoing
      const isStuck = socket !== null && socket.writableLength > 0 && taken(socket) === sent
      if (isStuck) return void socket.destroy()
      sent = socket === null ? -1 : taken(socket)
      stopLooking = clock.after(stallMs, look)
    }
    look()
    outgoing.once('close', () => {
      stopLooking()
    })
  }
}

/** Bytes that the system has taken. */
function taken(socket: Socket): number {
  return socket.bytesWritten - socket.writableLength
}

function sayWhy(code: string | undefined): [reason: string, status: number, error: GatewayError] {
  switch (code) {
    case 'HPE_HEADER_OVERFLOW':
      return [
        'headers',
        431,
        new GatewayError('TOO_LARGE', `headers may have ${MAX_HEADER_BYTES} bytes at most`)
      ]
    case 'ERR_HTTP_REQUEST_TIMEOUT':
      return ['slow', 408, new GatewayError('SLOW_CLIENT', 'the request did not arrive in time')]
    default:
      return ['malformed', 400, new GatewayError('INPUT', 'this is no HTTP request')]
  }
}

/** An answer to who has no request yet, and the end of the connection. */
function refuse(socket: Duplex, error: GatewayError, status = error.kind.status): void {
  const body = JSON.stringify(openaiError(error))
  const { retryAfterSeconds } = error.data
  const lines = [
    `HTTP/1.1 ${status} ${STATUS_CODES[status]}`,
    ...['content-type: application/json', `content-length: ${Buffer.byteLength(body)}`, 'connection: close'],
    ...(retryAfterSeconds === undefined ? [] : [`retry-after: ${retryAfterSeconds}`])
  ]
  socket.on('error', () => {}) // it may be gone already
  socket.end(`${lines.join('\r\n')}\r\n\r\n${body}`, () => socket.destroy())
}
