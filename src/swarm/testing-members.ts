/** Nodes with their part in a swarm, on a network in memory. */
import type { Announcement, StageInfo } from '../net/index.ts'
import { type Announced, createOpener, sealAnnouncement } from './announcement.ts'
import { Swarm, type SwarmInit } from './swarm.ts'
import { type MemoryNode, MemorySwarm, openingOnce, verifyMemory } from './testing.ts'

export const MODEL = 'a'.repeat(64)
export const OTHER_MODEL = 'b'.repeat(64)

export function stageOf(start: number, end: number, model = MODEL, rest: Partial<StageInfo> = {}): StageInfo {
  return {
    ...{ model, name: 'm', architecture: 'llama', start, end, blockCount: 8, width: 4 },
    ...{ head: end === 8, embedding: start === 0, context: 64, maxRows: 16 },
    profile: { kvTypeK: 'f16', kvTypeV: 'f16', flashAttention: true, codec: 'f32', longContext: false },
    ...rest
  }
}

export function announcementOf(peer: string, rest: Partial<Announcement> = {}): Announcement {
  return {
    ...{ peer, sequence: 1_767_225_600_000, ttlSeconds: 120, version: '1', addresses: [`/memory/${peer}`] },
    ...{ stages: [stageOf(0, 8)], wants: [], certificate: new Uint8Array(), extensions: {} },
    ...rest
  }
}

/** As its author seals it. */
export function announced(peer: string, rest: Partial<Announcement> = {}): Promise<Announced> {
  const author = new MemorySwarm().add(peer)
  return sealAnnouncement(announcementOf(peer, rest), (bytes) => author.sign(bytes))
}

export interface Member {
  readonly node: MemoryNode
  readonly swarm: Swarm
  readonly peer: string
}

export class Members {
  readonly memory: MemorySwarm
  readonly #opener = openingOnce(createOpener(verifyMemory))
  readonly all: Member[] = []

  constructor(seed = 1) {
    this.memory = new MemorySwarm(seed)
  }

  /** Started; hosts these stages. */
  async join(stages: readonly StageInfo[] = [], init: SwarmInit = {}, peer?: string): Promise<Member> {
    const { clock, random } = this.memory
    const node = this.memory.add(peer)
    const swarm = new Swarm({ network: node, clock, random, opener: this.#opener }, init)
    node.answer = (from, request) => swarm.answer(from, request)
    await swarm.start()
    swarm.announce({ stages, wants: [] })
    const member = { node, swarm, peer: node.peerId }
    this.all.push(member)
    return member
  }

  /** So many that all host {@link MODEL} and know each other. */
  async host(count: number): Promise<Member[]> {
    const members: Member[] = []
    while (members.length < count) members.push(await this.join([stageOf(0, 8)]))
    await this.memory.clock.advance(3_000)
    return members
  }

  advance(ms: number): Promise<void> {
    return this.memory.clock.advance(ms)
  }

  /** Living members, without itself, that have the peer in their directory. */
  whoKnows(peer: string): string[] {
    const others = this.all.filter((member) => member.node.isAlive && member.peer !== peer)
    return others.filter(({ swarm }) => swarm.directory.get(peer) !== undefined).map((member) => member.peer)
  }
}
