/** For tests: a gateway on a port of its own, and bytes to send to it. */
import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import { aborted, systemClock } from '../common/index.ts'
import type { NodeControl } from './node-control.ts'
import type { LogEntry } from './record.ts'
import { Gateway } from './server.ts'
import type { GatewayInit } from './settings.ts'
import type { SwarmView } from './swarm-view.ts'
import { endEvent, play, type Script, ScriptedAnswers, START, textEvent } from './testing.ts'

export const HELLO = play(START, textEvent('Hello'), endEvent())
export const CHAT = { model: 'tiny', messages: [{ role: 'user', content: 'Hi' }] }

/** Says something, and goes on until its reader leaves. */
export const ENDLESS: Script = async function* (_, { signal }) {
  yield START
  yield textEvent('Well')
  await aborted(signal)
  signal.throwIfAborted()
}

export class Served {
  readonly gateway: Gateway
  readonly answers: ScriptedAnswers
  readonly log: LogEntry[] = []
  /** What the node says; tests change it. */
  swarm: { reason: string | undefined; placement: string } = { reason: undefined, placement: '' }
  readonly #watchers = new Set<() => void>()

  constructor(init: GatewayInit = {}, script: Script = HELLO, control?: NodeControl) {
    this.answers = new ScriptedAnswers(script)
    const view: SwarmView = {
      notReady: () => this.swarm.reason,
      snapshot: () => ({
        self: {
          ...{ peer: 'me', version: '0', swarm: { kind: 'local' }, hosting: [], sessions: 0, peers: 0 },
          placement: this.swarm.placement
        },
        models: [],
        nodes: []
      })
    }
    const log = (entry: LogEntry): void => {
      this.log.push(entry)
      for (const watcher of this.#watchers) watcher()
    }
    const components = { answers: this.answers, swarm: view, clock: systemClock, log, control }
    this.gateway = new Gateway(components, { port: 0, drainMs: 200, ...init })
  }

  get port(): number {
    return Number(new URL(this.gateway.url).port)
  }

  fetch(path: string, init: RequestInit = {}): Promise<Response> {
    return fetch(this.gateway.url + path, init)
  }

  post(path: string, body: unknown, init: RequestInit = {}): Promise<Response> {
    const headers = { 'content-type': 'application/json', ...init.headers }
    return this.fetch(path, { ...init, method: 'POST', headers, body: JSON.stringify(body) })
  }

  /** A connection, and all that it says until it ends. */
  async open(): Promise<{ readonly socket: Socket; readonly said: Promise<string> }> {
    const socket = connect({ port: this.port, host: '127.0.0.1', allowHalfOpen: true })
    const chunks: Buffer[] = []
    socket.on('data', (chunk) => void chunks.push(chunk))
    const said = new Promise<string>((resolve) => {
      const done = (): void => resolve(Buffer.concat(chunks).toString('latin1'))
      socket.once('end', done)
      socket.once('close', done)
    })
    socket.on('error', () => {}) // being cut off is what most tests are about
    await once(socket, 'connect')
    return { socket, said }
  }

  /** Sends bytes as they are. */
  async raw(bytes: string | Uint8Array): Promise<string> {
    const { socket, said } = await this.open()
    socket.write(bytes)
    const answer = await said
    socket.destroy()
    return answer
  }

  /** Resolves when the log has such an entry. */
  async logged(matches: (entry: LogEntry) => boolean): Promise<LogEntry> {
    for (;;) {
      const found = this.log.find(matches)
      if (found !== undefined) return found
      await new Promise<void>((resolve) => {
        const watcher = (): void => {
          this.#watchers.delete(watcher)
          resolve()
        }
        this.#watchers.add(watcher)
      })
    }
  }

  /** The value of a metric, with its labels as they are written. */
  async metric(name: string): Promise<number> {
    const text = await this.gateway.metrics.registry.metrics()
    const line = text.split('\n').find((each) => each.startsWith(`${name} `))
    return Number(line?.split(' ').at(-1) ?? 0)
  }
}
