import fc from 'fast-check'
import { beforeEach, describe, expect, test } from 'vitest'
import type { HostedStage } from './discover.ts'
import { decodeOffer, type Offer } from './placement-offer.ts'
import type { Span } from './placement-sizes.ts'
import { hostedStage, MIB, testModel } from './placement-testing.ts'
import { Placer } from './placer.ts'
import { ManualClock, randomOf } from './testing-clock.ts'

const SEED = 20_260_105
const SECOND = 1_000
const MINUTE = 60 * SECOND
const MODEL = testModel('qwen', 16)
/** As gossip takes. */
const HEARD_MS = { least: 50, most: 600 }
/** Of a span, from the disk into the engine. */
const LOAD_MS = { least: 500, most: 4_000 }
/** Until a node that served somebody is known to be dead, or one that nobody used. */
const DEATH_MS = 5_000
const IDLE_DEATH_MS = 2 * MINUTE

interface Said {
  readonly stages: readonly HostedStage[]
  readonly offer: Offer
}

interface SimNode {
  readonly peer: string
  readonly placer: Placer
  /** What it knows of the others. */
  readonly heard: Map<string, Said>
  said: Said
  moves: number
}

/** Nodes with placers, which hear of each other late. */
class Sim {
  readonly clock = new ManualClock()
  readonly nodes = new Map<string, SimNode>()
  readonly random: () => number

  constructor(random: () => number) {
    this.random = random
  }

  between({ least, most }: { least: number; most: number }): number {
    return least + (most - least) * this.random()
  }

  sleep(ms: number): Promise<void> {
    return new Promise((resolve) => this.clock.after(ms, resolve))
  }

  add(peer: string, blocks: number): SimNode {
    const heard = new Map([...this.nodes.values()].map((node) => [node.peer, node.said]))
    const placer = new Placer(
      {
        ...{ clock: this.clock, random: this.random, demand: () => 0 },
        surroundings: () => ({
          stages: [...node.heard.values()].flatMap(({ stages }) => stages),
          offersOf: () => new Map([...node.heard].map(([peer, { offer }]) => [peer, offer]))
        }),
        announce: (span) => this.say(node, span, 'loading'),
        host: async (span) => {
          node.moves++
          await this.sleep(this.between(LOAD_MS))
          this.say(node, span)
        }
      },
      { self: peer, caps: () => ({ memoryBytes: blocks * MIB }), hostable: () => [MODEL] }
    )
    const node: SimNode = { peer, placer, heard, moves: 0, said: { stages: [], offer: new Map() } }
    this.nodes.set(peer, node)
    this.say(node, undefined)
    void placer.start()
    return node
  }

  say(node: SimNode, span: Span | undefined, state?: 'loading'): void {
    if (!this.nodes.has(node.peer)) return
    const changes = state === undefined ? {} : { state }
    const stages = span === undefined ? [] : [hostedStage(node.peer, MODEL, span, changes)]
    const said = { stages, offer: decodeOffer(node.placer.offer) }
    node.said = said
    for (const other of this.nodes.values()) {
      if (other === node) continue
      this.clock.after(this.between(HEARD_MS), () => {
        other.heard.set(node.peer, node.said)
        other.placer.changed()
      })
    }
  }

  kill(peer: string): void {
    const node = this.nodes.get(peer) as SimNode
    this.nodes.delete(peer)
    void node.placer.stop()
    for (const other of this.nodes.values()) {
      this.clock.after(node.said.stages.length > 0 ? DEATH_MS : IDLE_DEATH_MS, () => {
        other.heard.delete(peer)
        other.placer.changed()
      })
    }
  }

  get isCovered(): boolean {
    const spans = [...this.nodes.values()].flatMap(({ said }) => said.stages.map(({ stage }) => stage))
    return Array.from({ length: MODEL.blockCount }, (_, block) => block).every((block) =>
      spans.some(({ start, end, state }) => state === undefined && start <= block && block < end)
    )
  }

  /** Seconds until there is a chain. */
  async untilCovered(): Promise<number> {
    for (let seconds = 0; ; seconds++) {
      if (this.isCovered) return seconds
      expect(seconds, this.picture).toBeLessThan(120)
      await this.clock.advance(SECOND)
    }
  }

  get picture(): string {
    return [...this.nodes.values()]
      .map(({ peer, said, placer }) => {
        const [span] = said.stages.map(({ stage }) => `${stage.start}-${stage.end} ${stage.state ?? ''}`)
        return `${peer}: ${span ?? 'nothing'} (${placer.status})`
      })
      .join('\n')
  }
}

describe('twelve machines of mixed sizes, in random order', () => {
  const sizes = fc.array(fc.integer({ min: 1, max: 6 }), { minLength: 12, maxLength: 12 })

  test('have a chain within 30 s, again after any three are killed, and then stay where they are', async () => {
    const worst = { start: 0, repair: 0 }
    let repaired = 0
    const property = fc.asyncProperty(sizes, fc.nat(), async (sizes, seed) => {
      const random = randomOf(seed)
      const sim = new Sim(random)
      fc.pre(sizes.reduce((sum, size) => sum + size) >= 1.3 * MODEL.blockCount)
      for (const [index, size] of sizes.entries()) {
        sim.add(`node ${index}`, size)
        await sim.clock.advance(random() * 500)
      }
      worst.start = Math.max(worst.start, await sim.untilCovered())
      await sim.clock.advance(random() * MINUTE)
      for (let killed = 0; killed < 3; killed++) {
        sim.kill([...sim.nodes.keys()][Math.floor(random() * sim.nodes.size)] as string)
      }
      const left = [...sim.nodes.keys()].map((peer) => sizes[Number(peer.split(' ')[1])] as number)
      if (left.reduce((sum, size) => sum + size) < MODEL.blockCount) return
      repaired++
      worst.repair = Math.max(worst.repair, await sim.untilCovered())
      await sim.clock.advance(10 * SECOND)
      for (const node of sim.nodes.values()) node.moves = 0
      await sim.clock.advance(5 * MINUTE)
      expect(sim.isCovered).toBe(true)
      for (const node of sim.nodes.values()) expect(node.moves, sim.picture).toBeLessThanOrEqual(1)
    })
    await fc.assert(property, { numRuns: 60, seed: SEED })
    expect(repaired).toBeGreaterThan(30)
    expect(worst.start).toBeLessThanOrEqual(30)
    expect(worst.repair).toBeLessThanOrEqual(30)
  })
})

describe('a placer', () => {
  let clock: ManualClock
  let stages: HostedStage[]
  let offers: Map<string, Offer>
  let demand: Record<string, number>
  /** What it said and did, in order. */
  let log: string[]
  let loaded: PromiseWithResolvers<void>
  let placer: Placer

  const words = (span: Span | undefined): string =>
    span === undefined ? 'nothing' : `${span.start}-${span.end}`
  const others = (...spans: [number, number][]): HostedStage[] =>
    spans.map(([start, end], index) => hostedStage(`other ${index}`, MODEL, { start, end }))

  beforeEach(() => {
    clock = new ManualClock()
    stages = []
    offers = new Map()
    demand = {}
    log = []
    loaded = Promise.withResolvers()
    loaded.promise.catch(() => {})
    placer = new Placer(
      {
        ...{ clock, random: () => 0.5, demand: (model) => demand[model] ?? 0 },
        surroundings: () => ({ stages, offersOf: () => offers }),
        announce: (span) => log.push(`announced ${words(span)}`),
        host: async (span, signal) => {
          log.push(`hosts ${words(span)}`)
          signal.addEventListener('abort', () => loaded.reject(signal.reason))
          await loaded.promise
          log.push('ready')
        }
      },
      { self: 'self', caps: () => ({ memoryBytes: 8 * MIB }), hostable: () => [MODEL] }
    )
  })

  /** It hosts its first span. */
  async function settle(): Promise<void> {
    loaded.resolve()
    await placer.start()
    await clock.advance(10 * SECOND)
    log.length = 0
  }

  test('waits a little, says that it is loading, loads, and stays', async () => {
    await placer.start()
    expect(placer.status).toBe('about to load blocks 0-8 of qwen, which nobody hosts')
    expect(log).toEqual([])
    await clock.advance(SECOND)
    expect(log).toEqual(['announced 0-8', 'hosts 0-8'])
    expect(placer.status).toBe('loading blocks 0-8 of qwen')
    loaded.resolve()
    await clock.advance(10 * MINUTE)
    expect(log).toEqual(['announced 0-8', 'hosts 0-8', 'ready'])
    expect(placer.status).toContain('waiting for blocks 8-16 of qwen')
  })

  test('looks again before it acts', async () => {
    await placer.start()
    await clock.advance(900)
    stages = others([0, 8])
    await clock.advance(100)
    expect(log[0]).toBe('announced 8-16')
  })

  test('moves for less than a chain after ten minutes at the earliest', async () => {
    stages = others([0, 16], [0, 8], [0, 8])
    await settle()
    expect(placer.current).toMatchObject({ start: 8, end: 16 })
    stages = others([0, 16], [8, 16], [8, 16], [8, 16])
    placer.changed()
    await clock.advance(SECOND)
    expect(placer.status).toContain('in 10 min at the earliest')
    await clock.advance(9 * MINUTE)
    expect(log).toEqual([])
    await clock.advance(2 * MINUTE)
    expect(log).toEqual(['announced 0-8', 'hosts 0-8', 'ready'])
  })

  test('stays when the reason is gone before the delay is over', async () => {
    stages = others([0, 16], [0, 8], [0, 8])
    await settle()
    await clock.advance(10 * MINUTE)
    stages = others([0, 16], [8, 16], [8, 16], [8, 16])
    placer.changed()
    await clock.advance(SECOND)
    expect(placer.status).toContain('about to move')
    stages = others([0, 16], [0, 8], [8, 16])
    await clock.advance(5 * MINUTE)
    expect(log).toEqual([])
  })

  test('moves at once, settled or not, where a chain is broken', async () => {
    stages = others([0, 16])
    await settle()
    stages = others([0, 8])
    placer.changed()
    await clock.advance(2 * SECOND)
    expect(log).toEqual([])
    await clock.advance(2 * SECOND)
    expect(log).toEqual(['announced 8-16', 'hosts 8-16', 'ready'])
  })

  test('does not wait for long for others whose turn it is', async () => {
    stages = others([0, 9])
    const room = { memoryBytes: 7 * MIB, diskBytes: Number.POSITIVE_INFINITY, positions: 16 }
    offers.set('idle', new Map([[MODEL.model, room]]))
    await placer.start()
    expect(placer.status).toBe('waiting for another node to load what qwen lacks')
    await clock.advance(5 * SECOND)
    expect(log).toEqual([])
    await clock.advance(3 * SECOND)
    expect(log[0]).toBe('announced 8-16')
  })

  test('does not count on what is never loaded', async () => {
    stages = [hostedStage('slow', MODEL, { start: 0, end: 16 }, { state: 'loading' })]
    await settle()
    expect(placer.current).toBeDefined()
    placer.changed()
    await clock.advance(9 * MINUTE)
    expect(placer.status).not.toContain('nobody hosts them')
    await clock.advance(2 * MINUTE)
    expect(placer.status).toContain('nobody hosts them')
  })

  test('tries again later, and later still, what can’t be loaded, and does not offer it meanwhile', async () => {
    loaded.reject(new Error('no memory'))
    await placer.start()
    await clock.advance(2 * SECOND)
    expect(log).toEqual(['announced 0-8', 'hosts 0-8', 'announced nothing'])
    expect(decodeOffer(placer.offer).size).toBe(0)
    expect(placer.current).toBeUndefined()
    await clock.advance(10 * MINUTE)
    expect(log.filter((line) => line === 'hosts 0-8')).toHaveLength(5)
  })

  test('takes what it is told to, and leaves it only for a chain', async () => {
    stages = others([0, 16])
    await settle()
    expect(placer.assign({ model: 'unknown', start: 0, end: 1 })).toBe('this node does not have the model')
    expect(placer.assign({ model: MODEL.model, start: 0, end: 9 })).toContain('too much')
    expect(placer.assign({ model: MODEL.model, start: 4, end: 6 })).toBeUndefined()
    await clock.advance(0)
    expect(log).toEqual(['announced 4-6', 'hosts 4-6', 'ready'])
    await clock.advance(10 * MINUTE)
    expect(log).toHaveLength(3)
    expect(placer.status).toContain('but it was told to host what it does')
    stages = others([0, 12])
    placer.changed()
    await clock.advance(5 * SECOND)
    expect(log.slice(3)).toEqual(['announced 8-16', 'hosts 8-16', 'ready'])
  })

  test('gives up what it is loading when it is stopped', async () => {
    await placer.start()
    await clock.advance(SECOND)
    await placer.stop()
    await clock.advance(10 * MINUTE)
    expect(log).toEqual(['announced 0-8', 'hosts 0-8', 'announced nothing'])
    expect(placer.assign({ model: MODEL.model, start: 0, end: 1 })).toContain('does not host anything')
  })
})
