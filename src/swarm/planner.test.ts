import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { roomOf } from './placement-sizes.ts'
import { hostedStage, MIB, testModel } from './placement-testing.ts'
import { type Machine, PlanError, type PlanInput, type PlannedModel, plan, predict } from './planner.ts'
import { machinesOf } from './planner-machines.ts'

const SEED = 20_260_107

function machine(name: string, blocks: number, decodeMsPerBlock: number): Machine {
  return { name, memoryBytes: blocks * MIB, decodeMsPerBlock, prefillMsPerBlock: decodeMsPerBlock / 10 }
}

function input(machines: readonly Machine[], blocks: number, changes: Partial<PlanInput> = {}): PlanInput {
  const model = testModel('m', blocks)
  return { model, machines, linkMs: () => 0.5, consumerMs: () => 0.5, objective: 'latency', ...changes }
}

function splits({ spans }: { spans: readonly { machine: string; start: number; end: number }[] }): string[] {
  return spans.map(({ machine, start, end }) => `${machine} ${start}-${end}`)
}

describe('the best split', () => {
  const fast = [machine('a', 6, 1), machine('b', 6, 1)]

  test('gives a slow machine as little as possible, and nothing where the others have the memory', () => {
    const slow = machine('slow', 6, 4)
    const twelve = plan(input([...fast, slow], 12))
    expect(splits(twelve)).toEqual(['a 0-6', 'b 6-12'])
    expect(twelve.dropped).toEqual(['slow'])
    expect(twelve.tokensPerSecond).toBeCloseTo(1000 / (12 + 1.5))
    const thirteen = plan(input([...fast, slow], 13))
    expect(thirteen.spans.map(({ machine, start, end }) => [machine, end - start])).toContainEqual([
      'slow',
      1
    ])
    expect(thirteen.dropped).toEqual([])
  })

  test('for many sessions lets all help, each as long as the others', () => {
    const machines = [machine('a', 12, 1), machine('b', 12, 2), machine('slow', 12, 4)]
    const { spans, tokensPerSecond } = plan(input(machines, 14, { objective: 'throughput' }))
    const lengths = Object.fromEntries(spans.map(({ machine, start, end }) => [machine, end - start]))
    expect(lengths).toEqual({ a: 8, b: 4, slow: 2 })
    expect(tokensPerSecond).toBeCloseTo(1000 / 8)
  })

  test('for many sessions leaves out whoever does not make the slowest faster', () => {
    const machines = [machine('a', 1, 8), machine('b', 4, 1), machine('c', 4, 1)]
    const { dropped } = plan(input(machines, 8, { objective: 'throughput', linkMs: () => 5 }))
    expect(dropped).toEqual(['a'])
  })

  test('goes round by the near links', () => {
    const place: Record<string, number> = { here: 0, near: 1, far: 50, farther: 51 }
    const linkMs = (a: string, b: string): number => Math.abs((place[a] as number) - (place[b] as number))
    const consumerMs = (a: string): number => linkMs(a, 'here')
    const machines = ['farther', 'near', 'far'].map((name) => machine(name, 4, 1))
    expect(splits(plan(input(machines, 8, { linkMs, consumerMs })))[0]).toMatch(/^near/)
    const asymmetric = (a: string, b: string): number => (a === 'far' && b === 'near' ? 0 : linkMs(a, b))
    const ways = plan(input(machines, 8, { linkMs: asymmetric, consumerMs }))
    expect(splits(ways).map((split) => split.split(' ')[0])).toEqual(['far', 'near'])
  })

  test('counts the head, for time and for memory', () => {
    const model = testModel('m', 4, { headBytes: 2 * MIB })
    const machines = [machine('a', 3, 1), machine('b', 3, 1)]
    expect(splits(plan(input(machines, 4, { model })))).toEqual(['a 0-3', 'b 3-4'])
    expect(plan(input(machines, 4, { model })).tokensPerSecond).toBeCloseTo(1000 / 7.5)
  })

  test('of too little memory is an error that says how much is missing', () => {
    expect(() => plan(input(fast, 13))).toThrow(PlanError)
    expect(() => plan(input(fast, 5_000))).toThrow('it needs 5.2 GB')
  })
})

/** By trying everything: the best rate. */
function best(of: PlanInput, used: readonly { machine: string; start: number; end: number }[] = []): number {
  const at = used.at(-1)?.end ?? 0
  const { model, machines } = of
  if (at === model.blockCount) return predict(of, used).tokensPerSecond
  const rates = machines
    .filter(({ name }) => !used.some(({ machine }) => machine === name))
    .flatMap(({ name }) =>
      Array.from({ length: model.blockCount - at }, (_, index) => ({
        machine: name,
        start: at,
        end: at + index + 1
      }))
    )
    .filter((span) => fits(of, span))
    .map((span) => best(of, [...used, span]))
  return Math.max(0, ...rates)
}

function fits(of: PlanInput, span: { machine: string; start: number; end: number }): boolean {
  const { memoryBytes } = of.machines.find(({ name }) => name === span.machine) as Machine
  const [predicted] = predict(of, [span]).spans
  return (predicted?.memoryBytes ?? 0) <= Math.floor(memoryBytes / 1024) * 1024
}

function rate(of: PlanInput): number {
  try {
    return plan(of).tokensPerSecond
  } catch {
    return 0
  }
}

describe('of a few machines', () => {
  const ms = fc.integer({ min: 1, max: 40 })
  const sizes = fc.record({
    blocks: fc.array(fc.integer({ min: 1, max: 4 }), { minLength: 1, maxLength: 6 }),
    head: fc.nat(4)
  })
  const model: fc.Arbitrary<PlannedModel> = sizes.map(({ blocks, head }) =>
    testModel('m', blocks.length, { blockBytes: blocks.map((size) => size * MIB), headBytes: head * MIB })
  )
  const links = fc.array(ms, { minLength: 16, maxLength: 16 })
  const machines = fc.array(fc.tuple(fc.integer({ min: 1, max: 12 }), ms), { minLength: 1, maxLength: 4 })

  test.each(['latency', 'throughput'] as const)('nothing is better by %s, whatever is tried', (objective) => {
    let possible = 0
    const property = fc.property(model, machines, links, links, (model, sizes, there, back) => {
      const named = sizes.map(([blocks, ms], index) => machine(String(index), blocks, ms))
      const of: PlanInput = {
        ...{ model, machines: named, objective },
        linkMs: (a, b) => there[Number(a) * 4 + Number(b)] as number,
        consumerMs: (a) => back[Number(a)] as number
      }
      const most = best(of)
      if (most > 0) possible++
      expect(rate(of)).toBeCloseTo(most, 9)
    })
    fc.assert(property, { numRuns: 300, seed: SEED })
    expect(possible).toBeGreaterThan(100)
  })
})

describe('of many machines', () => {
  test('a good split is found at once', () => {
    const sites = Array.from({ length: 30 }, (_, index) => `${index % 3} ${index}`)
    const machines = sites.map((name, index) => machine(name, 6, 1 + (index % 5)))
    const siteOf = (name: string): string => name.split(' ')[0] as string
    const of = input(machines, 40, {
      linkMs: (a, b) => (siteOf(a) === siteOf(b) ? 0.5 : 40),
      consumerMs: (a) => (siteOf(a) === '0' ? 0.5 : 40)
    })
    // One site's machines, the fastest of them full: twelve blocks at 1 ms, twelve at 2, twelve at 3, four at 4, eight links.
    expect(plan(of).tokensPerSecond).toBeGreaterThan((1000 / (12 + 24 + 36 + 16 + 4)) * 0.95)
  })
})

describe('the machines of a swarm', () => {
  const model = testModel('m', 8, { headBytes: 2 * MIB })
  const speed = (ms: number) => ({ speed: { decodeMicroseconds: ms * 1000, prefillMicroseconds: ms * 100 } })
  const room = roomOf(model, { memoryBytes: 5 * MIB })

  test('have the speed of what they host, head included, or that of the others', () => {
    const stages = [
      hostedStage('a', model, { start: 0, end: 4 }, speed(4)),
      hostedStage('b', model, { start: 4, end: 8 }, speed(18)),
      hostedStage('told', model, { start: 4, end: 8 }, speed(1))
    ]
    const offers = new Map(['a', 'b', 'idle'].map((peer) => [peer, new Map([[model.model, room]])]))
    const machines = machinesOf(model, { stages, offers: offers.set('other', new Map()) })
    expect(machines.map(({ name, decodeMsPerBlock }) => [name, decodeMsPerBlock])).toEqual([
      ['a', 1],
      ['b', 3],
      ['idle', expect.closeTo((1 + 3 + 1 / 6) / 3)]
    ])
    expect(machines[0]).toMatchObject({ memoryBytes: 5 * MIB, prefillMsPerBlock: expect.closeTo(0.1) })
  })
})
