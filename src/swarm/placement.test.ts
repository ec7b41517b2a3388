import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { decide, type PlacementInput } from './placement.ts'
import { hostedStage, MIB, type TestNode, TestWorld, testModel } from './placement-testing.ts'

const SEED = 20_260_104
const MODEL = testModel('qwen', 8)
const OTHER = testModel('llama', 8)

/** What the first of the nodes decides. */
function decision(nodes: Record<string, TestNode>, changes: Partial<PlacementInput> = {}, models = [MODEL]) {
  return decide({ ...new TestWorld(models, nodes).input('a'), ...changes })
}

function at(start: number, end: number, model = MODEL) {
  return { model: model.model, start, end }
}

function wanting(demand: Record<string, number>) {
  return { demand: (model: string) => demand[Buffer.from(model, 'hex').toString().replaceAll('\0', '')] ?? 0 }
}

describe('a chain comes first', () => {
  test('alone, a node hosts what it can, and the next one goes on where it ends', () => {
    expect(decision({ a: { blocks: 3 } }).move).toEqual({ span: at(0, 3), gain: Infinity, isUrgent: true })
    const second = decision({ a: { blocks: 2 }, b: { blocks: 3, span: at(0, 3) } })
    expect(second.move?.span).toEqual(at(3, 5))
  })

  test('what only one machine can hold is left to it', () => {
    const large = decision({ a: { blocks: 8 }, b: { blocks: 6, span: at(0, 6) }, c: { blocks: 2 } })
    expect(large.awaited).toEqual(['c'])
    expect(large.status).toBe('waiting for another node to load what qwen lacks')
  })

  test('whoever did not take its turn is not waited for', () => {
    const nodes = { a: { blocks: 8 }, b: { blocks: 6, span: at(0, 6) }, c: { blocks: 2 } }
    expect(decision(nodes, { passive: new Set(['c']) }).move?.span).toEqual(at(0, 8))
  })

  test('a node shifts its span where that completes the chain', () => {
    const nodes = { a: { blocks: 5, span: at(2, 7) }, b: { blocks: 4, span: at(0, 4) } }
    expect(decision(nodes).move?.span).toEqual(at(3, 8))
  })

  test('nobody moves for what can’t be completed, and is told what is missing', () => {
    const nodes = { a: { blocks: 3, span: at(2, 5) }, b: { blocks: 3, span: at(0, 3) } }
    expect(decision(nodes)).toEqual({
      awaited: [],
      status: 'waiting for blocks 5-8 of qwen: nobody hosts them; this machine could, with 4 MB more'
    })
  })

  test('what others load counts, what they have with other settings does not', () => {
    const nodes = { a: { blocks: 4, span: at(0, 4) } }
    const loading = hostedStage('b', MODEL, at(4, 8), { state: 'loading' })
    expect(decision(nodes, { stages: [loading] }).move).toBeUndefined()
    expect(decision(nodes, { stages: [loading] }).status).toContain('hosting blocks 0-4')
    const profile = { ...MODEL.profile, kvTypeK: 'q8_0' }
    const different = hostedStage('b', MODEL, at(4, 8), { profile })
    expect(decision(nodes, { stages: [different] }).status).toContain('waiting for blocks 4-8')
  })

  test('of two models that nobody has asked for, the one that is nearer to a chain', () => {
    const nodes = { a: { blocks: 2 }, b: { blocks: 2, span: at(0, 2, OTHER) } }
    expect(decision(nodes, {}, [MODEL, OTHER]).move?.span).toEqual(at(2, 4, OTHER))
  })

  test('what is wanted comes before what is nearer', () => {
    const nodes = { a: { blocks: 2 }, b: { blocks: 2, span: at(0, 2, OTHER) } }
    expect(decision(nodes, wanting({ qwen: 1 }), [MODEL, OTHER]).move?.span).toEqual(at(0, 2))
  })

  test('nodes gather: what can’t be completed is left for what then can be', () => {
    const nodes = { a: { blocks: 4, span: at(0, 4, OTHER) }, b: { blocks: 5, span: at(0, 5) } }
    expect(decision(nodes, {}, [MODEL, OTHER]).move?.span).toEqual(at(4, 8))
  })

  test('a copy that is to spare goes where a chain is wanted', () => {
    const nodes = {
      ...{ a: { blocks: 4, span: at(0, 4, OTHER) }, b: { blocks: 8, span: at(0, 8, OTHER) } },
      c: { blocks: 4, span: at(0, 4) }
    }
    const models = [MODEL, OTHER]
    expect(decision(nodes, wanting({ qwen: 1, llama: 9 }), models).move?.span).toEqual(at(4, 8))
    expect(decision(nodes, wanting({ llama: 9 }), models).move).toBeUndefined()
    const { b: _, ...without } = nodes
    const last = { ...without, d: { blocks: 4, span: at(4, 8, OTHER) } }
    expect(decision(last, wanting({ qwen: 1, llama: 9 }), models).move).toBeUndefined()
  })

  test('a new model that can’t be completed is no reason to leave people unserved', () => {
    const nodes = { a: { blocks: 2 }, b: { blocks: 8, span: at(0, 8, OTHER) } }
    const models = [MODEL, OTHER]
    expect(decision(nodes, wanting({ llama: 2, qwen: 1 }), models).move?.span.model).toBe(OTHER.model)
    expect(decision(nodes, wanting({ llama: 1, qwen: 2 }), models).move?.span.model).toBe(MODEL.model)
  })
})

describe('copies', () => {
  const whole = { blocks: 8, span: at(0, 8) }

  test('are made where there are fewest, and begin where others end', () => {
    const nodes = { a: { blocks: 4 }, b: whole, c: { blocks: 4, span: at(0, 4) } }
    const { move, status } = decision(nodes)
    expect(move).toEqual({ span: at(4, 8), gain: Infinity, isUrgent: false })
    expect(status).toBe('about to load blocks 4-8 of qwen, one more copy')
  })

  test('that are about as useful are spread', () => {
    const nodes = {
      a: { blocks: 4 },
      b: whole,
      c: { blocks: 4, span: at(0, 4) },
      d: { blocks: 4, span: at(4, 8) }
    }
    const starts = [0, 0.99].map((draw) => decision(nodes, { draw }).move?.span.start)
    expect(starts).toEqual([0, 4])
  })

  test('follow demand and speed', () => {
    const speeds = { fast: 1_000, slow: 8_000 }
    const stage = (peer: 'fast' | 'slow', model = MODEL) => {
      const speed = { decodeMicroseconds: speeds[peer], prefillMicroseconds: 1 }
      return hostedStage(peer, model, { start: 0, end: 8 }, { speed })
    }
    const models = [MODEL, OTHER].map((model) => ({ ...model, blockMicroseconds: 125 }))
    const stages = [stage('fast'), stage('slow', OTHER)]
    const wants = (demand: Record<string, number>) =>
      decision({ a: whole }, { stages, ...wanting(demand) }, models)
    expect(wants({ qwen: 1, llama: 1 }).move?.span.model).toBe(OTHER.model)
    expect(wants({ qwen: 8, llama: 1 }).move).toBeUndefined()
  })

  test('move for a gain of half, not for less', () => {
    const copies = (count: number, start: number, end: number) =>
      Array.from({ length: count }, (_, index) => hostedStage(`${start} ${index}`, MODEL, at(start, end)))
    const nodes = { a: { blocks: 4, span: at(0, 4) } }
    const few = decision(nodes, { stages: [...copies(2, 0, 4), ...copies(2, 4, 8)] })
    expect(few.move).toBeUndefined()
    const many = decision(nodes, { stages: [...copies(4, 0, 4), ...copies(1, 4, 8)] })
    expect(many.move).toMatchObject({ span: at(4, 8), isUrgent: false })
    expect(many.move?.gain).toBeCloseTo(2.5 * 1.05)
    expect(many.status).toBe(
      'about to move from blocks 0-4 of qwen to blocks 4-8 of qwen: 2.6 times as useful'
    )
  })

  test('the last holder stays, unless nobody wants what it holds and somebody wants the other', () => {
    const stages = [hostedStage('b', OTHER, { start: 0, end: 8 })]
    const of = (demand: Record<string, number>) =>
      decision({ a: whole }, { stages, ...wanting(demand) }, [MODEL, OTHER])
    expect(of({ qwen: 1, llama: 50 }).move).toBeUndefined()
    expect(of({ qwen: 1, llama: 50 }).status).toBe(
      'hosting blocks 0-8 of qwen, as nobody else hosts all of them'
    )
    expect(of({}).move).toBeUndefined()
    expect(of({ llama: 1 }).move?.span.model).toBe(OTHER.model)
  })

  test('who is loading is no holder to rely on', () => {
    const stages = [
      hostedStage('b', OTHER, { start: 0, end: 8 }),
      hostedStage('c', MODEL, { start: 0, end: 8 }, { state: 'loading' })
    ]
    const { move } = decision({ a: whole }, { stages, ...wanting({ qwen: 1, llama: 50 }) }, [MODEL, OTHER])
    expect(move).toBeUndefined()
  })
})

describe('a node that can host nothing says why', () => {
  const big = testModel('big', 8, { computeBytes: 3 * MIB })
  test.each([
    [[], [], 'hosting nothing: there is no model on this machine'],
    [[big], [hostedStage('b', big, at(0, 8))], 'hosting nothing: one block of big needs 3 MB more memory'],
    [[big], [], 'waiting for blocks 0-8 of big: nobody hosts them; this machine could, with 10 MB more']
  ])('%#', (hostable, stages, status) => {
    expect(decision({ a: { blocks: 2 } }, { hostable, stages })).toEqual({ awaited: [], status })
  })
})

describe('a swarm of any mix of sizes', () => {
  const BLOCKS = 16
  const model = testModel('any', BLOCKS)
  const sizes = fc.array(fc.integer({ min: 1, max: 10 }), { minLength: 2, maxLength: 14 })
  const order = fc.infiniteStream(fc.nat(1_000))

  function pick<T>(values: readonly T[], order: Iterator<number>): T {
    return values[(order.next().value as number) % values.length] as T
  }

  /** In random order until nobody moves; gives how often each has. */
  function settle(world: TestWorld, order: Iterator<number>): Map<string, number> {
    const moves = new Map<string, number>()
    for (;;) {
      const movers = [...world.nodes.keys()].filter((peer) => decide(world.input(peer)).move !== undefined)
      if (movers.length === 0) return moves
      const peer = pick(movers, order)
      world.act(peer)
      moves.set(peer, (moves.get(peer) ?? 0) + 1)
      expect([...moves.values()].reduce((sum, count) => sum + count)).toBeLessThan(3 * world.nodes.size + 1)
    }
  }

  function total(world: TestWorld): number {
    return [...world.nodes.values()].reduce((sum, { blocks }) => sum + blocks, 0)
  }

  /** With its nodes one after the other, each of them moving only for chains. */
  function grow(blocks: readonly number[], order: Iterator<number>): TestWorld {
    const world = new TestWorld([model])
    for (const [index, size] of blocks.entries()) {
      world.nodes.set(`node ${index}`, { blocks: size })
      const before = new Map([...world.nodes].map(([peer, { span }]) => [peer, span]))
      for (let turn = 0; turn < 3 * world.nodes.size; turn++) world.act(pick([...world.nodes.keys()], order))
      settle(world, order)
      if (!world.isCovered(model)) {
        for (const [peer, { span }] of world.nodes)
          if (before.get(peer) !== undefined) expect(span).toBe(before.get(peer))
      }
    }
    return world
  }

  test('gets a chain when it has the memory, as nodes come one after the other', () => {
    const property = fc.property(sizes, order, (sizes, order) => {
      const world = grow(sizes, order)
      expect(world.isCovered(model)).toBe(total(world) >= BLOCKS)
    })
    fc.assert(property, { numRuns: 150, seed: SEED })
  })

  test('gets it back after losses, and nobody moves more than once for it', () => {
    let repaired = 0
    const property = fc.property(sizes, order, fc.integer({ min: 1, max: 3 }), (sizes, order, losses) => {
      const world = grow(sizes, order)
      for (let loss = 0; loss < losses; loss++) world.nodes.delete(pick([...world.nodes.keys()], order))
      if (world.isCovered(model) || total(world) < BLOCKS) return
      repaired++
      const moved = new Set<string>()
      while (!world.isCovered(model)) {
        const urgent = [...world.nodes.keys()].filter((peer) => decide(world.input(peer)).move?.isUrgent)
        const peer = pick(urgent, order)
        world.act(peer)
        expect(moved.has(peer)).toBe(false)
        moved.add(peer)
      }
    })
    fc.assert(property, { numRuns: 150, seed: SEED })
    expect(repaired).toBeGreaterThan(15)
  })

  test('comes to rest with several models that are wanted unequally', () => {
    const models = [model, testModel('b', 6), testModel('c', 10)]
    const demands = fc.tuple(fc.nat(20), fc.nat(20), fc.nat(20))
    const property = fc.property(sizes, demands, order, (sizes, demands, order) => {
      const world = new TestWorld(models)
      for (const [index, { model }] of models.entries()) world.demand.set(model, demands[index] as number)
      for (const [index, blocks] of sizes.entries()) world.nodes.set(`node ${index}`, { blocks })
      settle(world, order)
    })
    fc.assert(property, { numRuns: 100, seed: SEED })
  })
})
