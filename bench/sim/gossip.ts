/**
 * Gossipsub as libp2p has it: a node's own messages go to all connected nodes that follow the topic (flood publishing),
 * others' to its mesh of 3 to 8 of them, if its judge accepts them. What is left out, as it only adds copies or saves
 * some: IHAVE and IWANT (nodes beyond the mesh), IDONTWANT, scores.
 */
import type { Judge } from '../../src/net/index.ts'
import type { SimClock, Work } from './clock.ts'
import type { SimHost } from './host.ts'
import { BYTES_AROUND, type Kinds } from './traffic.ts'

/** Gossipsub's D, D_low and D_high, as in net/gossip.ts. */
const DEGREE = { wanted: 4, least: 3, most: 8 }
const HEARTBEAT_MS = 1_000

/** One node's part in one topic. */
export class Member {
  readonly host: SimHost
  readonly topic: string
  readonly judge: Judge
  readonly mesh: Member[] = []
  /** One way to each of the mesh, in milliseconds. */
  readonly delays: number[] = []
  isGone = false

  constructor(host: SimHost, topic: string, judge: Judge) {
    this.host = host
    this.topic = topic
    this.judge = judge
  }
}

interface Message {
  readonly kind: string
  readonly bytes: Uint8Array
  /** A bit per host: somebody has sent it there. */
  readonly seen: Uint8Array
  copies: number
  /** Followers that have it, and those of them that did not pass it on. */
  reached: number
  ignored: number
}

/** By then a message has come everywhere. */
const SPREAD_MS = 20_000
const NOWHERE = { copies: 0, reached: 0, ignored: 0 }

export class Gossip {
  readonly topics = new Map<string, Set<Member>>()
  readonly #clock: SimClock
  readonly #random: () => number
  readonly #kinds: Kinds
  readonly #mostHosts: number
  /** Those whose mesh is too small. */
  readonly #hungry = new Set<Member>()

  constructor(clock: SimClock, random: () => number, kinds: Kinds, mostHosts: number) {
    this.#clock = clock
    this.#random = random
    this.#kinds = kinds
    this.#mostHosts = mostHosts
    this.#beat()
  }

  join(host: SimHost, topic: string, judge: Judge): Member {
    const member = new Member(host, topic, judge)
    const members = this.topics.get(topic) ?? new Set()
    this.topics.set(topic, members.add(member))
    host.members.set(topic, member)
    this.#graft(member)
    return member
  }

  leave(member: Member): void {
    member.isGone = true
    this.#hungry.delete(member)
    this.topics.get(member.topic)?.delete(member)
    for (const other of [...member.mesh]) this.#prune(member, other)
  }

  connected(one: SimHost, other: SimHost): void {
    for (const [topic, member] of one.members) {
      const counterpart = other.members.get(topic)
      if (counterpart === undefined) continue
      for (const end of [member, counterpart]) if (end.mesh.length < DEGREE.least) this.#hungry.add(end)
    }
  }

  disconnected(one: SimHost, other: SimHost): void {
    for (const [topic, member] of one.members) {
      const counterpart = other.members.get(topic)
      if (counterpart !== undefined && member.mesh.includes(counterpart)) this.#prune(member, counterpart)
    }
  }

  publish(host: SimHost, topic: string, kind: string, bytes: Uint8Array): void {
    const message = { kind, bytes, seen: new Uint8Array((this.#mostHosts >> 3) + 1), ...NOWHERE }
    isNew(message, host)
    for (const [other, rttMs] of host.links) {
      const member = other.members.get(topic)
      if (member !== undefined) this.#send(message, host, member, rttMs / 2)
    }
    const followers = (this.topics.get(topic)?.size ?? 0) - (host.members.has(topic) ? 1 : 0)
    this.#clock.after(SPREAD_MS, () => this.#count(message, followers))
  }

  #count({ kind, bytes, copies, reached, ignored }: Message, followers: number): void {
    this.#kinds.add(`${kind}: published`)
    this.#kinds.add(`${kind}: copies`, copies, copies * (bytes.length + BYTES_AROUND))
    this.#kinds.add(`${kind}: followers`, followers)
    this.#kinds.add(`${kind}: reached`, reached)
    this.#kinds.add(`${kind}: ignored`, ignored)
  }

  #send(message: Message, from: SimHost, to: Member, delayMs: number): void {
    const bytes = message.bytes.length + BYTES_AROUND
    message.copies += 1
    from.counts.bytesOut += bytes
    to.host.counts.bytesIn += bytes
    if (isNew(message, to.host)) {
      this.#clock.at(this.#clock.now() + delayMs, new Delivery(this, message, from, to))
    } else to.host.counts.repeated += 1
  }

  deliver(message: Message, from: SimHost, to: Member): void {
    if (to.isGone || !to.host.isAlive) return
    to.host.counts.heard += 1
    message.reached += 1
    const verdict = to.judge(message.bytes, from.peerId)
    if (verdict instanceof Promise) throw new Error('the simulation judges at once')
    if (verdict !== 'accept') message.ignored += 1
    if (verdict !== 'accept') return
    for (let index = 0; index < to.mesh.length; index++) {
      const next = to.mesh[index] as Member
      if (next.host !== from) this.#send(message, to.host, next, to.delays[index] as number)
    }
  }

  #beat(): void {
    this.#clock.after(HEARTBEAT_MS, () => {
      for (const member of [...this.#hungry]) {
        this.#hungry.delete(member)
        if (!member.isGone && member.host.isAlive) this.#graft(member)
      }
      this.#beat()
    })
  }

  /** With connected nodes, up to the wanted degree. */
  #graft(member: Member): void {
    if (member.mesh.length >= DEGREE.least) return
    const candidates: Member[] = []
    for (const other of member.host.links.keys()) {
      const one = other.members.get(member.topic)
      if (one !== undefined && one.mesh.length < DEGREE.most && !member.mesh.includes(one))
        candidates.push(one)
    }
    while (member.mesh.length < DEGREE.wanted && candidates.length > 0) {
      const [other] = candidates.splice(Math.floor(this.#random() * candidates.length), 1) as [Member]
      const delayMs = (member.host.links.get(other.host) as number) / 2
      for (const [a, b] of [
        [member, other],
        [other, member]
      ] as const) {
        a.mesh.push(b)
        a.delays.push(delayMs)
      }
    }
  }

  #prune(one: Member, other: Member): void {
    for (const [a, b] of [
      [one, other],
      [other, one]
    ] as const) {
      const index = a.mesh.indexOf(b)
      a.mesh.splice(index, 1)
      a.delays.splice(index, 1)
      if (!a.isGone && a.mesh.length < DEGREE.least) this.#hungry.add(a)
    }
  }
}

/** Whether nobody has sent it there yet; from now on somebody has. */
function isNew({ seen }: Message, { index }: SimHost): boolean {
  const bit = 1 << (index & 7)
  const before = seen[index >> 3] as number
  seen[index >> 3] = before | bit
  return (before & bit) === 0
}

class Delivery implements Work {
  readonly #gossip: Gossip
  readonly #message: Message
  readonly #from: SimHost
  readonly #to: Member

  constructor(gossip: Gossip, message: Message, from: SimHost, to: Member) {
    this.#gossip = gossip
    this.#message = message
    this.#from = from
    this.#to = to
  }

  run(): void {
    this.#gossip.deliver(this.#message, this.#from, this.#to)
  }
}
