import { describe, expect, test } from 'vitest'
import { randomOf } from '../../test/models/random.ts'
import type { StageLoad, SwarmAnswer } from '../net/index.ts'
import type { HostedStage } from './discover.ts'
import { Latencies } from './latency.ts'
import { type Route, type RouteRequest, Router } from './router.ts'
import { NoChainError } from './routing.ts'
import type { ChainHop } from './routing-cost.ts'
import { hosted, MODEL, speed } from './routing-testing.ts'
import { ManualClock } from './testing-clock.ts'

const REQUEST = { model: MODEL, promptTokens: 100, answerTokens: 100 }

/** What a peer answers: its load, nothing ever, or that it can't be reached. */
type Answer = Partial<StageLoad> | 'never' | 'unreachable' | 'refused' | 'moved'

/** Stages that answer what they are told to; idle if not told. */
class World {
  readonly clock = new ManualClock()
  readonly random = randomOf('router')
  readonly asked: string[] = []
  readonly answers: Record<string, Answer> = {}
  stages: HostedStage[]

  constructor(...stages: HostedStage[]) {
    this.stages = stages
  }

  router(): Router {
    const { clock, random } = this
    const latency = new Latencies({ clock, random }, { self: 'me', coordinateOf: () => undefined })
    return new Router({
      clock,
      random,
      latency,
      stages: () => this.stages,
      ask: (peer) => this.#answer(peer)
    })
  }

  async #answer(peer: string): Promise<SwarmAnswer> {
    this.asked.push(peer)
    const answer = this.answers[peer] ?? {}
    if (answer === 'never') return new Promise(() => {})
    if (answer === 'unreachable') throw new Error('no way there')
    if (answer === 'refused') return { type: 'refused', code: 'unknown', message: 'what is load?' }
    const stages = this.stages
      .filter((hop) => hop.peer === peer && answer !== 'moved')
      .map(({ stage: { model, start, end } }) => ({
        ...{
          model,
          start,
          end,
          freeSessions: 8,
          freePositions: 100_000,
          waitMicroseconds: 0,
          stepMicroseconds: 0
        },
        ...(answer as Partial<StageLoad>)
      }))
    return { type: 'load', stages }
  }
}

function words(chain: readonly ChainHop[]): string {
  return chain.map(({ peer, start, end }) => `${start}-${end} of ${peer}`).join(', ')
}

async function routed(router: Router, more: Partial<RouteRequest> = {}): Promise<string> {
  return words((await router.route({ ...REQUEST, ...more })).chain)
}

describe('a route', () => {
  test('is the cheapest chain, and says what it takes', async () => {
    const world = new World(
      hosted(0, 4, speed(1)),
      hosted(4, 8, speed(1)),
      hosted(0, 8, { ...speed(90), peer: 'slow' })
    )
    const { chain, costMs } = await world.router().route(REQUEST)
    expect(words(chain)).toBe('0-4 of 0-4, 4-8 of 4-8')
    // Three links of 25 ms one way for each of 100 tokens; 99 steps, and a frame of 16 rows, at both stages, which
    // take half a millisecond to handle each; 84 rows more.
    expect(costMs).toBeCloseTo(100 * (75 + 2 * 0.5) + 2 * (99 * 1 + 16 * 0.1) + 84 * 0.1, 6)
  })

  test('goes to idle stages, and to fast steps, when they are asked', async () => {
    const world = new World(...['a', 'b', 'c'].map((peer) => hosted(0, 8, { peer, ...speed(10) })))
    world.answers.a = { waitMicroseconds: 500_000 }
    world.answers.b = { stepMicroseconds: 500_000 }
    expect(await routed(world.router())).toBe('0-8 of c')
  })

  test('asks each node once within two seconds, also for many sessions', async () => {
    const world = new World(hosted(0, 4), hosted(4, 8))
    const router = world.router()
    await Promise.all([routed(router), routed(router), routed(router)])
    expect(world.asked.toSorted()).toEqual(['0-4', '4-8'])
    await world.clock.advance(2_000)
    await routed(router)
    expect(world.asked).toHaveLength(4)
  })

  test('leaves full stages out, unless there is nothing else', async () => {
    const world = new World(
      hosted(0, 8, { peer: 'full', ...speed(1) }),
      hosted(0, 8, { peer: 'slow', ...speed(90) })
    )
    world.answers.full = { freeSessions: 0 }
    expect(await routed(world.router())).toBe('0-8 of slow')
    world.answers.full = { freePositions: 99 }
    expect(await routed(world.router())).toBe('0-8 of slow')
    world.answers.slow = { freeSessions: 0 }
    expect(await routed(world.router())).toBe('0-8 of full')
  })

  test('leaves stages out whose context is too short, unless there is nothing else', async () => {
    const short = hosted(0, 8, { peer: 'short', context: 150, ...speed(1) })
    expect(await routed(new World(short, hosted(0, 8, speed(90))).router())).toBe('0-8 of 0-8')
    expect(await routed(new World(short).router())).toBe('0-8 of short')
  })

  test('looks further when all that seemed best are full', async () => {
    const world = new World(
      ...Array.from({ length: 20 }, (_, index) =>
        hosted(0, 8, { peer: `${index}`, ...speed(1 + 50 * index) })
      )
    )
    for (let peer = 0; peer < 8; peer++) world.answers[peer] = { freeSessions: 0 }
    expect(Number((await routed(world.router())).split(' ').at(-1))).toBeGreaterThanOrEqual(8)
  })

  test('takes silent stages for slow, not for dead, and does not wait for them again and again', async () => {
    const world = new World(hosted(0, 4), hosted(4, 8), hosted(0, 8, { peer: 'silent' }))
    world.answers.silent = 'never'
    const router = world.router()
    const route = routed(router)
    await world.clock.advance(300)
    expect(await route).toBe('0-4 of 0-4, 4-8 of 4-8')
    world.stages = world.stages.slice(2)
    expect(await routed(router)).toBe('0-8 of silent')
    expect(world.asked.filter((peer) => peer === 'silent')).toHaveLength(1)
  })

  test('goes on without those who can’t be reached, or don’t know the question', async () => {
    const world = new World(
      hosted(0, 8, { peer: 'a', ...speed(1) }),
      hosted(0, 8, { peer: 'b', ...speed(90) })
    )
    world.answers.a = 'unreachable'
    expect(await routed(world.router())).toBe('0-8 of b')
    world.answers.a = 'refused'
    expect(await routed(world.router())).toBe('0-8 of a')
  })

  test('does not use a stage that its node hosts no more, nor those to be avoided', async () => {
    const world = new World(
      hosted(0, 8, { peer: 'a', ...speed(1) }),
      hosted(0, 8, { peer: 'b', ...speed(90) })
    )
    expect(await routed(world.router(), { avoid: new Set(['a']) })).toBe('0-8 of b')
    world.answers.a = 'moved'
    const router = world.router()
    expect(await routed(router)).toBe('0-8 of b')
    await expect(routed(router, { avoid: new Set(['b']) })).rejects.toThrow(NoChainError)
  })

  test('is none where there is no chain, or nobody waits for it', async () => {
    await expect(routed(new World(hosted(0, 4)).router())).rejects.toThrow(/block 4 of 8/)
    const signal = AbortSignal.abort(new Error('enough'))
    await expect(routed(new World(hosted(0, 8)).router(), { signal })).rejects.toThrow('enough')
  })
})

describe('many consumers', () => {
  const REPLICAS = 20
  const stages = [0, 4].flatMap((start) =>
    Array.from({ length: REPLICAS }, (_, index) =>
      hosted(start, start + 4, { peer: `${start}/${index}`, ...speed(10) })
    )
  )

  /** How many sessions the fullest stage got, of a fair share. */
  async function fullest(routes: number, routerOf: (world: World) => Router): Promise<number> {
    const world = new World(...stages)
    const sessions = new Map<string, number>()
    for (let route = 0; route < routes; route++) {
      const { chain } = await routerOf(world).route(REQUEST)
      for (const { peer } of chain) sessions.set(peer, (sessions.get(peer) ?? 0) + 1)
    }
    return Math.max(...sessions.values()) / (routes / REPLICAS)
  }

  test('don’t all choose the same of equal stages, even before any of them says that it is busy', async () => {
    expect(await fullest(400, (world) => world.router())).toBeLessThan(2)
  })

  test('nor does one of them that opens many sessions at once', async () => {
    const routers = new WeakMap<World, Router>()
    const routerOf = (world: World): Router => {
      const router = routers.get(world) ?? world.router()
      routers.set(world, router)
      return router
    }
    expect(await fullest(100, routerOf)).toBeLessThan(2)
  })

  test('choose rather what has more places', async () => {
    const world = new World(...['roomy', 'tight'].map((peer) => hosted(0, 8, { peer, ...speed(10) })))
    world.answers.tight = { freeSessions: 1 }
    let roomy = 0
    for (let route = 0; route < 100; route++) if ((await routed(world.router())).endsWith('roomy')) roomy++
    expect(roomy).toBeGreaterThan(75)
    expect(roomy).toBeLessThan(100)
  })

  test('don’t give a stage more sessions at once than it said to have places for', async () => {
    const world = new World(...['a', 'b'].map((peer) => hosted(0, 8, { peer, ...speed(10) })))
    Object.assign(world.answers, { a: { freeSessions: 3 }, b: { freeSessions: 3 } })
    const router = world.router()
    const chosen: string[] = []
    for (let route = 0; route < 6; route++) chosen.push(await routed(router))
    expect(chosen.toSorted()).toEqual([...Array(3).fill('0-8 of a'), ...Array(3).fill('0-8 of b')])
  })
})

describe('a conversation', () => {
  const [a, b] = ['a', 'b'].map((peer) => hosted(0, 8, { peer, ...speed(10) })) as [HostedStage, HostedStage]
  const prefer = [{ ...b, start: 0, end: 8 }]
  const long = { prefer, promptTokens: 3_000 }

  test('stays where its prompt is, as long as nobody else is better by what it costs to compute it again', async () => {
    const world = new World(a, b)
    // At a: 3,000 rows of a prompt at 1 ms, that is 30 ms for each of 100 tokens.
    world.answers.b = { waitMicroseconds: 29_000 }
    expect(await routed(world.router(), long)).toBe('0-8 of b')
    world.answers.b = { waitMicroseconds: 31_000 }
    expect(await routed(world.router(), long)).toBe('0-8 of a')
  })

  test('does not lose its own place to being counted', async () => {
    const world = new World(a, b)
    world.answers.b = { freeSessions: 0 }
    expect(await routed(world.router(), long)).toBe('0-8 of b')
  })

  test('moves when its stage is not there any more', async () => {
    expect(await routed(new World(a).router(), long)).toBe('0-8 of a')
    expect(await routed(new World(a, { ...b, stage: { ...b.stage, start: 1 } }).router(), long)).toBe(
      '0-8 of a'
    )
    const world = new World(a, b)
    world.answers.b = 'moved'
    expect(await routed(world.router(), long)).toBe('0-8 of a')
  })
})

describe('spares', () => {
  const sparesOf = ({ spares }: Route): string[] => spares.map(words)

  test('are the best others for each hop’s blocks, and none where there are none', async () => {
    const others = [
      hosted(0, 4, { peer: 'x', ...speed(50) }),
      hosted(0, 2, speed(30)),
      hosted(2, 6, speed(30))
    ]
    const world = new World(hosted(0, 4, speed(1)), hosted(4, 8, speed(1)), ...others)
    const route = await world.router().route(REQUEST)
    expect(words(route.chain)).toBe('0-4 of 0-4, 4-8 of 4-8')
    expect(sparesOf(route)).toEqual(['0-4 of x', ''])
    world.stages = world.stages.filter(({ peer }) => peer !== 'x')
    expect(sparesOf(await world.router().route(REQUEST))).toEqual(['0-2 of 0-2, 2-4 of 2-6', ''])
  })

  test('are not full, as far as is known', async () => {
    const world = new World(
      ...['a', 'b', 'c'].map((peer, index) => hosted(0, 8, { peer, ...speed(1 + 10 * index) }))
    )
    world.answers.b = { freeSessions: 0 }
    expect(sparesOf(await world.router().route(REQUEST))).toEqual(['0-8 of c'])
  })
})
