/** What can go wrong while somebody answers: which fault, when, and what must be seen of it. */
import type { ChainEvent } from '../../src/session/index.ts'
import type { ChainHop } from '../../src/swarm/index.ts'
import type { Random } from '../models/random.ts'
import { command, engineOf, type Provider, type ProviderKind, type Swarm, signal } from './providers.ts'

/** When a scenario's fault comes. */
export type Moment =
  | 'before' // the session opens
  | 'opening'
  | 'prefill'
  | 'decode'

/** What a scenario's fault can see and do. */
export interface Scene {
  readonly swarm: Swarm
  readonly random: Random
  /** The providers of the chain in the beginning. */
  readonly chain: readonly Provider[]
  /** The first session's chain when it is whole again. */
  repaired(): Promise<readonly ChainHop[]>
  /** Says what happens, for the report; time counts from the first call. */
  note(fault: string): void
  /** Cuts the consumer's connections; resolves to how many there were. */
  disconnect(): number
}

export interface Scenario {
  readonly name: string
  /** Of the chain in the beginning. */
  readonly kind: ProviderKind
  readonly moment: Moment
  /** Several frames, or one. */
  readonly prompt: 'long' | 'short'
  /** At once; with more than one, rows are computed in batches of any shape. */
  readonly sessions: number
  /** Before anything else. */
  readonly prepare?: (chain: readonly Provider[]) => Promise<void>
  readonly strike: (scene: Scene) => Promise<void>
  /** Once all have been answered. */
  readonly after?: (scene: Scene) => Promise<void>
  /** Events that must have been, and events that must not. */
  readonly wants?: readonly ChainEvent['type'][]
  readonly forbids?: readonly ChainEvent['type'][]
  /** The consumer's connections go through a forwarder. */
  readonly isForwarded?: boolean
}

const SPARES: readonly ChainEvent['type'][] = ['lost', 'repaired']

function pick<T>(random: Random, items: readonly T[]): T {
  return items[Math.floor(random() * items.length)] as T
}

function where({ chain }: Scene, ...victims: readonly Provider[]): string {
  return victims.map((victim) => `hop ${chain.indexOf(victim) + 1} of ${chain.length}`).join(' and ')
}

async function kill(scene: Scene, ...victims: readonly Provider[]): Promise<void> {
  scene.note(`kill -9 of ${where(scene, ...victims)}`)
  await Promise.all(victims.map((victim) => scene.swarm.kill(victim)))
}

function killing(moment: Moment, prompt: 'long' | 'short', sessions = 1): Scenario {
  return {
    ...{
      name: `kill while ${moment === 'decode' ? 'decoding' : moment}`,
      kind: 'shoal',
      moment,
      prompt,
      sessions
    },
    strike: (scene) => kill(scene, pick(scene.random, scene.chain)),
    ...(moment === 'decode' ? { wants: SPARES } : {})
  }
}

/** The hop is lost, its place is taken, and who takes it is killed while it is given what it lacks. */
const killReplay: Scenario = {
  ...{
    name: 'kill while replaying',
    kind: 'shoal',
    moment: 'decode',
    prompt: 'long',
    sessions: 1,
    wants: SPARES
  },
  async strike(scene) {
    const { swarm, chain, random } = scene
    const victim = pick(random, chain)
    const repaired = scene.repaired()
    await kill(scene, victim)
    const back = swarm.launch(victim.span, victim.kind)
    const hops = await repaired
    const newcomer = swarm.at(hops[chain.indexOf(victim)]?.peer as string)
    scene.note('then of who took over')
    await Promise.all([swarm.kill(newcomer), back])
  }
}

function killTwo(name: string, choose: (scene: Scene) => Provider[]): Scenario {
  return {
    ...{ name, kind: 'shoal', moment: 'decode', prompt: 'short', sessions: 1, wants: SPARES },
    strike: (scene) => kill(scene, ...choose(scene))
  }
}

const freezeNode: Scenario = {
  ...{
    name: 'node stands still',
    kind: 'shoal',
    moment: 'decode',
    prompt: 'short',
    sessions: 1,
    wants: SPARES
  },
  async strike(scene) {
    const victim = pick(scene.random, scene.chain)
    scene.note(`SIGSTOP of ${where(scene, victim)}`)
    scene.swarm.freeze(victim.pid)
    await scene.repaired()
    await scene.swarm.kill(victim)
  }
}

const freezeEngine: Scenario = {
  ...{ name: 'engine hangs', kind: 'shoal', moment: 'decode', prompt: 'short', sessions: 1, wants: SPARES },
  async strike(scene) {
    const victim = pick(scene.random, scene.chain)
    const engine = await engineOf(victim)
    scene.note(`SIGSTOP of the engine of ${where(scene, victim)}`)
    scene.swarm.freeze(engine)
  }
}

const abortEngine: Scenario = {
  ...{ name: 'engine aborts', kind: 'shoal', moment: 'decode', prompt: 'short', sessions: 1, wants: SPARES },
  async strike(scene) {
    const victim = pick(scene.random, scene.chain)
    const name = pick(scene.random, ['SIGABRT', 'SIGSEGV'] as const)
    const engine = await engineOf(victim)
    scene.note(`${name} to the engine of ${where(scene, victim)}`)
    signal(engine, name)
  }
}

const drain: Scenario = {
  ...{ name: 'node leaves', kind: 'shoal', moment: 'decode', prompt: 'short', sessions: 3 },
  ...{ wants: ['leaving'], forbids: ['lost'] },
  async strike(scene) {
    const victim = pick(scene.random, scene.chain)
    scene.note(`SIGTERM to ${where(scene, victim)}`)
    await scene.swarm.kill(victim, 'SIGTERM')
    if (victim.process.exitCode !== 0) throw new Error(`it ended with ${victim.process.exitCode}`)
  }
}

/** A hop that sends on, told to do what `fault` says. */
function link(
  name: string,
  fault: (scene: Scene) => Parameters<typeof command>[1],
  more: Partial<Scenario> = {}
): Scenario {
  return {
    ...{ name, kind: 'faulty', moment: 'decode', prompt: 'short', sessions: 1 },
    async strike(scene) {
      const victim = pick(scene.random, scene.chain.slice(0, -1))
      const told = fault(scene)
      scene.note(`${JSON.stringify(told)} at ${where(scene, victim)}`)
      await command(victim, told)
    },
    async after({ chain }) {
      const struck = await Promise.all(chain.map((provider) => command(provider, { kind: 'none' })))
      if (Math.max(...struck) === 0) throw new Error('nothing was harmed: the test says nothing')
    },
    ...more
  }
}

const after = ({ random }: Scene): number => Math.floor(random() * 4)

/** Bytes of a frame's header, and changes to them after which it is no frame: see docs/PROTOCOL.md. */
const MALFORMED = [
  { offset: 0, change: 1 }, // length
  { offset: 3, change: 0x7f },
  { offset: 4, change: 3 }, // version
  { offset: 5, change: 0xf0 }, // codec
  { offset: 6, change: 0x10 }, // sample
  { offset: 15, change: 0x80 }, // position
  { offset: 19, change: 0x80 }, // epoch of the row before: later than its own
  { offset: 23, change: 0x80 } // first id
]

/** A frame that is one, but not the one that should come. */
function forge(name: string, offset: number, change: number): Scenario {
  return link(name, (scene) => ({ kind: 'corrupt', after: after(scene), offset, change }))
}

const fullDisk: Scenario = {
  ...{ name: 'disk full', kind: 'faulty', moment: 'decode', prompt: 'long', sessions: 1, wants: SPARES },
  async prepare(chain) {
    for (const provider of chain) await command(provider, { kind: 'full' })
  },
  async strike(scene) {
    const index = Math.floor(scene.random() * 2)
    scene.note(`no disk for the log of hop ${index + 1}`)
    await kill(scene, scene.chain[index + 1] as Provider)
  }
}

export const scenarios: readonly Scenario[] = [
  {
    ...{ name: 'undisturbed', kind: 'shoal', moment: 'before', prompt: 'long', sessions: 1 },
    ...{ strike: async ({ note }) => note('none'), forbids: ['lost', 'relayed', 'waiting'] }
  },
  killing('opening', 'short'),
  killing('prefill', 'long'),
  killing('decode', 'short'),
  { ...killing('decode', 'short', 3), name: 'kill under load' },
  killReplay,
  killTwo('two neighbours killed', ({ chain, random }) => {
    const first = Math.floor(random() * (chain.length - 1))
    return chain.slice(first, first + 2)
  }),
  killTwo('any two killed', ({ chain, random }) => {
    const spared = pick(random, chain)
    return chain.filter((provider) => provider !== spared)
  }),
  killTwo('all killed', ({ chain }) => [...chain]),
  freezeNode,
  freezeEngine,
  abortEngine,
  drain,
  {
    ...{ name: 'consumer cut off', kind: 'shoal', moment: 'decode', prompt: 'short', sessions: 1 },
    ...{ isForwarded: true, forbids: ['lost'] },
    async strike(scene) {
      scene.note(`${scene.disconnect()} connections of the consumer cut`)
    }
  },
  link('link cut', ({ swarm }) => ({ kind: 'cut', except: swarm.consumer.host.peerId }), {
    ...{ wants: ['relayed'], forbids: ['lost'] }
  }),
  link('slow link', () => ({ kind: 'slow', delayMs: 20, bitsPerSecond: 2_000_000 }), {
    ...{ moment: 'before', prompt: 'long', forbids: ['lost', 'relayed'] }
  }),
  link('malformed frame', (scene) => ({
    kind: 'corrupt',
    after: after(scene),
    ...pick(scene.random, MALFORMED)
  })),
  link(
    'malformed prompt',
    (scene) => ({ kind: 'corrupt', after: after(scene), ...pick(scene.random, MALFORMED) }),
    {
      ...{ moment: 'before', prompt: 'long' }
    }
  ),
  forge('frame of a later epoch', 8, 1),
  forge('frame of another position', 12, 0x10),
  forge('frame that asks for no draw', 6, 1),
  forge('frame with an id that there is not', 22, 0x10),
  link('truncated frame', (scene) => ({ kind: 'truncate', after: after(scene) })),
  link('truncated prompt', (scene) => ({ kind: 'truncate', after: after(scene) }), {
    ...{ moment: 'before', prompt: 'long' }
  }),
  link('lost frame', (scene) => ({ kind: 'drop', after: after(scene) })),
  link('duplicate frame', (scene) => ({ kind: 'duplicate', after: after(scene) }), { forbids: ['lost'] }),
  link('reordered frames', (scene) => ({ kind: 'reorder', after: after(scene) }), {
    ...{ moment: 'before', prompt: 'long' }
  }),
  fullDisk
]
