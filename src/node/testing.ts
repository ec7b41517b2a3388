/** Participants on a network in memory, with a clock that is moved by hand; libraries of files on this machine. */
import { systemClock } from '../common/index.ts'
import type { StageInfo, StageLoad } from '../net/index.ts'
import { createOpener } from '../swarm/announcement.ts'
import { MemoryNode, type MemorySwarm, openingOnce, verifyMemory } from '../swarm/testing.ts'
import { randomOf } from '../swarm/testing-clock.ts'
import { Library, type LibraryInit } from './library.ts'
import { Participant, type ParticipantComponents, type ParticipantInit } from './participant.ts'

/** What a joiner needs beside what a swarm does. */
export class JoiningNode extends MemoryNode {
  readonly #memory: MemorySwarm

  constructor(memory: MemorySwarm, peer: string) {
    super(memory, peer)
    this.#memory = memory
    memory.nodes.set(peer, this)
  }

  async connect(address: string): Promise<string> {
    const peer = address.split('/').at(-1) as string
    const node = this.#memory.nodes.get(peer)
    if (node?.isAlive !== true) throw new Error(`nobody at ${address}`)
    this.#memory.connect(this, node)
    return peer
  }

  onDiscovered(): () => void {
    return () => {}
  }

  async provide(): Promise<void> {}

  async *findProviders(): AsyncGenerator<never> {}

  addressesOf(peer: string): string[] {
    return [`/memory/${peer}`]
  }
}

/** Not started yet; knows `others` from the start, and remembers nothing. */
export function participantOf(
  memory: MemorySwarm,
  peer: string,
  others: readonly string[],
  init: Partial<ParticipantInit> = {}
): Participant {
  const host = new JoiningNode(memory, peer)
  const { clock, random } = memory
  const opener = openingOnce(createOpener(verifyMemory))
  const participant = new Participant(
    { host: host as unknown as ParticipantComponents['host'], clock, random, opener },
    {
      ...{
        joined: { kind: 'local', asked: false, allow: [], block: [] },
        folder: '/nowhere',
        isPassing: true
      },
      ...{ addresses: others.map((other) => `/memory/${other}`), load: () => [] },
      ...init
    }
  )
  host.answer = (from, request) => participant.answer(from, request)
  return participant
}

export function freeLoad({ model, start, end }: StageInfo): StageLoad {
  return {
    ...{ model, start, end, stepMicroseconds: 1_000, waitMicroseconds: 0 },
    ...{ freeSessions: 4, freePositions: 4_096 }
  }
}

/** With nobody to fetch from but files on this machine. */
export function libraryIn(folder: string, init: Partial<LibraryInit> = {}): Library {
  const nobody = async (): Promise<never> => {
    throw new Error('no network in this test')
  }
  return new Library(
    {
      ...{ host: { peerId: 'self', openPieces: nobody }, clock: systemClock, random: randomOf(1) },
      suppliers: () => [],
      isAlone: () => true
    },
    { folder, ...init }
  )
}
