/** A network in memory on a clock that is moved by hand: gossip, requests, deaths, partitions. No time passes but this. */
import { createHash } from 'node:crypto'
import type { Judge, SwarmAnswer, SwarmRequest, Verdict } from '../net/index.ts'
import type { Notice, Opener } from './announcement.ts'
import type { SwarmNetwork } from './swarm.ts'
import { ManualClock, randomOf } from './testing-clock.ts'

/** Of gossipsub's mesh: each message goes to so many more. */
const DEGREE = 6
/** How soon who missed a message is told of it. */
const HEARTBEAT_MS = 1_000
const HOP_MS = { least: 20, most: 80 }

/** For `createOpener`: what a {@link MemoryNode} signs. */
export function verifyMemory(peer: string, bytes: Uint8Array, signature: Uint8Array): boolean {
  return Buffer.compare(signatureOf(peer, bytes), signature) === 0
}

/** Opens each message once, for all nodes that it comes to: what they are given is the same, and not to be changed. */
export function openingOnce(opener: Opener): Opener {
  const opened = new WeakMap<Uint8Array, Notice | Promise<Notice>>()
  const once = (key: Uint8Array, open: () => Notice | Promise<Notice>): Notice | Promise<Notice> => {
    const notice = opened.get(key) ?? open()
    opened.set(key, notice)
    return notice
  }
  return {
    open: (message) => once(message.payload, () => opener.open(message)),
    read: (message) => once(message, () => opener.read(message))
  }
}

function signatureOf(peer: string, bytes: Uint8Array): Uint8Array {
  return new Uint8Array(createHash('sha512').update(peer).update('\0').update(bytes).digest())
}

/** A message on its way. */
interface Flight {
  readonly topic: string
  readonly message: Uint8Array
  readonly sent: Set<MemoryNode>
  readonly holders: Set<MemoryNode>
}

/** Whom a topic's messages reach. */
interface Mesh {
  readonly members: readonly MemoryNode[]
  readonly places: ReadonlyMap<MemoryNode, number>
}

export class MemorySwarm {
  readonly clock = new ManualClock()
  readonly random: () => number
  readonly nodes = new Map<string, MemoryNode>()
  /** Messages published, by topic. */
  readonly published = new Map<string, number>()
  readonly #topics = new Map<string, Set<MemoryNode>>()
  /** By topic and side of a partition; made anew when somebody comes or goes. */
  readonly #meshes = new Map<string, Map<number, Mesh>>()

  constructor(seed = 1) {
    this.random = randomOf(seed)
  }

  add(peer = `node-${this.nodes.size}`): MemoryNode {
    const node = new MemoryNode(this, peer)
    this.nodes.set(peer, node)
    return node
  }

  /** No message passes between `nodes` and the others until `heal`. */
  partition(nodes: readonly MemoryNode[]): void {
    for (const node of nodes) node.side = 1
    this.#meshes.clear()
  }

  heal(): void {
    for (const node of this.nodes.values()) node.side = 0
    this.#meshes.clear()
  }

  /** Its process: who asks it hears that nobody is there. Or its machine: who asks it waits in vain. */
  kill(node: MemoryNode, what: 'process' | 'machine' = 'machine'): void {
    node.isAlive = false
    node.isRefusing = what === 'process'
    for (const peer of node.peers) this.disconnect(node, peer)
    for (const topic of node.judges.keys()) this.join(topic, node, false)
  }

  connect(one: MemoryNode, other: MemoryNode): void {
    one.connected(other.peerId)
    other.connected(one.peerId)
  }

  disconnect(node: MemoryNode, peer: string): void {
    node.disconnected(peer)
    this.nodes.get(peer)?.disconnected(node.peerId)
  }

  delayMs(): number {
    return HOP_MS.least + (HOP_MS.most - HOP_MS.least) * this.random()
  }

  join(topic: string, node: MemoryNode, isMember: boolean): void {
    const members = this.#topics.get(topic) ?? new Set()
    this.#topics.set(topic, members)
    if (isMember) members.add(node)
    else members.delete(node)
    this.#meshes.delete(topic)
  }

  /** Whether a message gets through from one to the other. */
  reaches(one: MemoryNode, other: MemoryNode | undefined): boolean {
    return other?.isAlive === true && one.isAlive && one.side === other.side
  }

  /** Spreads through those who accept it. */
  publish(node: MemoryNode, topic: string, message: Uint8Array): void {
    this.published.set(topic, (this.published.get(topic) ?? 0) + 1)
    const flight: Flight = { topic, message, sent: new Set([node]), holders: new Set() }
    const mesh = this.#meshOf(topic, node.side)
    this.#pass(node, flight)
    this.clock.after(HEARTBEAT_MS, () => {
      if (this.#meshOf(topic, node.side) !== mesh) this.#mend(flight)
    })
  }

  /** A de Bruijn graph: from everybody to everybody in few hops, whoever is there (Imase and Itoh, 1981). */
  #pass(node: MemoryNode, flight: Flight): void {
    flight.holders.add(node)
    const { members, places } = this.#meshOf(flight.topic, node.side)
    const first = (places.get(node) ?? 0) * DEGREE
    for (let edge = 0; edge < DEGREE; edge++) {
      const next = members[(first + edge) % members.length]
      if (next === undefined || flight.sent.has(next) || next.cuts.has(node.peerId)) continue
      flight.sent.add(next)
      this.clock.after(this.delayMs(), () => this.#deliver(node, next, flight))
    }
  }

  #deliver(node: MemoryNode, next: MemoryNode, flight: Flight): void {
    if (!this.reaches(node, next)) return void flight.sent.delete(next)
    const pass = (verdict: Verdict): void => {
      if (verdict === 'accept') this.#pass(next, flight)
    }
    const verdict = next.judges.get(flight.topic)?.(flight.message, node.peerId) ?? 'ignore'
    if (verdict instanceof Promise) void verdict.then(pass)
    else pass(verdict)
  }

  /** Somebody came or went while it was on its way: who did not get it asks somebody who has it. */
  #mend(flight: Flight): void {
    for (const node of this.nodes.values()) {
      if (flight.sent.has(node) || !node.judges.has(flight.topic)) continue
      const holder = flight.holders.values().find((one) => this.reaches(one, node))
      if (holder !== undefined) this.#deliver(holder, node, flight)
    }
  }

  #meshOf(topic: string, side: number): Mesh {
    const sides = this.#meshes.get(topic) ?? new Map<number, Mesh>()
    this.#meshes.set(topic, sides)
    let mesh = sides.get(side)
    if (mesh === undefined) {
      const members = [...(this.#topics.get(topic) ?? [])].filter((node) => node.side === side)
      mesh = { members, places: new Map(members.map((node, place) => [node, place])) }
      sides.set(side, mesh)
    }
    return mesh
  }
}

export class MemoryNode implements SwarmNetwork {
  readonly peerId: string
  readonly addresses: string[]
  readonly judges = new Map<string, Judge>()
  /** Whom it has cut, and why. */
  readonly cuts = new Map<string, string>()
  isAlive = true
  isRefusing = false
  side = 0
  /** What it says when asked. */
  answer: ((peer: string, request: SwarmRequest) => SwarmAnswer | Promise<SwarmAnswer>) | undefined
  readonly #swarm: MemorySwarm
  readonly #peers = new Set<string>()
  readonly #onConnect = new Set<(peer: string) => void>()
  readonly #onDisconnect = new Set<(peer: string) => void>()

  constructor(swarm: MemorySwarm, peer: string) {
    this.#swarm = swarm
    this.peerId = peer
    this.addresses = [`/memory/${peer}`]
  }

  get peers(): string[] {
    return [...this.#peers]
  }

  onConnect(listener: (peer: string) => void): () => void {
    this.#onConnect.add(listener)
    return () => this.#onConnect.delete(listener)
  }

  onDisconnect(listener: (peer: string) => void): () => void {
    this.#onDisconnect.add(listener)
    return () => this.#onDisconnect.delete(listener)
  }

  connected(peer: string): void {
    this.#peers.add(peer)
    for (const listener of this.#onConnect) listener(peer)
  }

  disconnected(peer: string): void {
    if (this.#peers.delete(peer)) for (const listener of this.#onDisconnect) listener(peer)
  }

  async sign(bytes: Uint8Array): Promise<Uint8Array> {
    return signatureOf(this.peerId, bytes)
  }

  subscribe(topic: string, judge: Judge): () => void {
    this.judges.set(topic, judge)
    this.#swarm.join(topic, this, true)
    return () => {
      this.judges.delete(topic)
      this.#swarm.join(topic, this, false)
    }
  }

  async publish(topic: string, message: Uint8Array): Promise<void> {
    if (this.isAlive) this.#swarm.publish(this, topic, message)
  }

  async ask(peer: string, _: string[], request: SwarmRequest, signal?: AbortSignal): Promise<SwarmAnswer> {
    await this.#travel(peer, signal)
    const node = this.#swarm.nodes.get(peer) as MemoryNode
    if (node.answer === undefined) throw new Error(`${peer} serves nobody`)
    const answer = await node.answer(this.peerId, request)
    await this.#travel(peer, signal)
    return answer
  }

  async ping(peer: string, signal?: AbortSignal): Promise<number> {
    if (!this.#peers.has(peer)) throw new Error(`${peer} is not connected`)
    const before = this.#swarm.clock.now()
    await this.#travel(peer, signal)
    await this.#travel(peer, signal)
    return this.#swarm.clock.now() - before
  }

  cut(peer: string, reason: string): void {
    this.cuts.set(peer, reason)
    this.#swarm.disconnect(this, peer)
  }

  /** One way. Nobody says that a message is lost. */
  #travel(peer: string, signal: AbortSignal | undefined): Promise<void> {
    return new Promise((resolve, reject) => {
      if (signal?.aborted) reject(signal.reason)
      signal?.addEventListener('abort', () => reject(signal.reason), { once: true })
      this.#swarm.clock.after(this.#swarm.delayMs(), () => {
        const node = this.#swarm.nodes.get(peer)
        if (this.#swarm.reaches(this, node)) resolve()
        else if (node?.isRefusing) reject(new Error(`nobody at ${peer}`))
      })
    })
  }
}
