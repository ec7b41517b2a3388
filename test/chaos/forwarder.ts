/** Connections to a port go on to another one, until they are cut. */
import { once } from 'node:events'
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net'

export class Forwarder {
  readonly #server: Server
  readonly #sockets = new Set<Socket>()

  constructor(port: number) {
    this.#server = createServer((socket) => {
      const onward = connect(port, '127.0.0.1')
      for (const [from, to] of [
        [socket, onward],
        [onward, socket]
      ] as const) {
        this.#sockets.add(from)
        from.on('error', () => {}) // its end is seen below
        from.once('close', () => {
          this.#sockets.delete(from)
          to.destroy()
        })
        from.pipe(to)
      }
    })
  }

  /** Resolves to its port. */
  async start(): Promise<number> {
    this.#server.listen(0, '127.0.0.1')
    await once(this.#server, 'listening')
    return (this.#server.address() as AddressInfo).port
  }

  /** All connections that there are; resolves to their number. */
  cut(): number {
    const count = this.#sockets.size / 2
    for (const socket of [...this.#sockets]) socket.resetAndDestroy()
    return count
  }

  async stop(): Promise<void> {
    this.cut()
    this.#server.close()
    await once(this.#server, 'close')
  }
}
