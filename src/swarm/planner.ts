/**
 * The best split of a model over given machines: which of them take part, in which order, with how many blocks each.
 * The idea of a dynamic program over measured speeds, memories and links is EdgeShard's (Zhang et al., 2024); here it
 * runs over orders, too, and leaves out whoever only slows the chain.
 */
import { ShoalError } from '../common/index.ts'
import { type ModelSizes, reach, roomOf, spanBytes } from './placement-sizes.ts'
import { fastestWay, type Problem, type Way } from './planner-search.ts'
import type { Range } from './routing-search.ts'

export type PlannedModel = ModelSizes & { readonly name: string }

export interface Machine {
  readonly name: string
  /** For weights, KV cache and buffers. */
  readonly memoryBytes: number
  /** What one row of one session takes in one block of usual size. */
  readonly decodeMsPerBlock: number
  /** What each row of a prompt takes in one block. */
  readonly prefillMsPerBlock: number
}

/**
 * `latency`: one session, whose tokens go through all stages one after the other. `throughput`: as many sessions as keep
 * all stages busy, so that the slowest stage counts, and links only where that is equal.
 */
export type Objective = 'latency' | 'throughput'

export interface PlanInput {
  readonly model: PlannedModel
  readonly machines: readonly Machine[]
  /** One way, in milliseconds, with what a hop costs besides. */
  readonly linkMs: (from: string, to: string) => number
  /** Between a machine and whoever asks. */
  readonly consumerMs: (machine: string) => number
  readonly objective: Objective
}

export interface PlannedSpan extends Range {
  readonly machine: string
  /** Per row. */
  readonly decodeMs: number
  readonly memoryBytes: number
}

export interface Plan {
  /** In the order of the chain. */
  readonly spans: readonly PlannedSpan[]
  /** Machines that are not used. */
  readonly dropped: readonly string[]
  /** Of one session, or of all of them together. */
  readonly tokensPerSecond: number
  /** Of a prompt that flows through all stages at once. */
  readonly promptTokensPerSecond: number
}

/** Thrown when the machines can't hold the model together. */
export class PlanError extends ShoalError {
  constructor(message: string) {
    super('PLAN', message)
  }
}

/** Of machines whose order is tried exactly, or well; see planner-search. Throws a PlanError. */
export function plan(input: PlanInput): Plan {
  const { model, machines, objective } = input
  const problem = problemOf(input)
  let way = fastestWay(problem, objective === 'latency' ? 'sum' : 'slowest')
  if (way !== undefined && objective === 'throughput') {
    // Of the ways that are as fast, the one with the shortest round.
    way = fastestWay({ ...problem, stageMs: withLimit(problem, slowest(problem, way)) }, 'sum') ?? way
  }
  if (way === undefined) throw new PlanError(whatIsMissing(model, machines))
  return describe(input, problem, way)
}

/** What a given split would do; spans in the order of the chain. */
export function predict(input: PlanInput, spans: readonly (Range & { readonly machine: string })[]): Plan {
  const problem = problemOf(input)
  const index = new Map(input.machines.map(({ name }, index) => [name, index]))
  const way = spans.map(({ machine, start, end }) => ({ machine: index.get(machine) as number, start, end }))
  return describe(input, problem, way)
}

function problemOf({ model, machines, linkMs, consumerMs }: PlanInput): Problem {
  const units = unitsOf(model)
  const name = (index: number): string => (machines[index] as Machine).name
  return {
    ...{ blockCount: model.blockCount, machines: machines.length },
    ends: machines.map((machine) => reach(model, roomOf(model, machine))),
    stageMs: (machine, start, end) =>
      (machines[machine] as Machine).decodeMsPerBlock * ((units[end] as number) - (units[start] as number)),
    linkMs: (from, to) => linkMs(name(from), name(to)),
    consumerMs: (machine) => consumerMs(name(machine))
  }
}

/** Sums of what blocks weigh, one being usual, the head after the last: decoding waits for memory, byte by byte. */
export function unitsOf({ blockBytes, headBytes, blockCount }: PlannedModel): Float64Array {
  const usual = blockBytes.reduce((sum, bytes) => sum + bytes, 0) / blockCount
  const units = new Float64Array(blockCount + 1)
  for (const [block, bytes] of blockBytes.entries())
    units[block + 1] = (units[block] as number) + bytes / usual
  units[blockCount]! += headBytes / usual
  return units
}

/** Rounding must not rule out what has just been found. */
const ROUNDING = 1 + 1e-9

function withLimit({ stageMs }: Problem, limitMs: number): Problem['stageMs'] {
  return (machine, start, end) => {
    const ms = stageMs(machine, start, end)
    return ms <= limitMs * ROUNDING ? ms : Number.POSITIVE_INFINITY
  }
}

function slowest({ stageMs }: Problem, way: Way): number {
  return Math.max(...way.map(({ machine, start, end }) => stageMs(machine, start, end)))
}

function describe({ model, machines, objective }: PlanInput, problem: Problem, way: Way): Plan {
  const { stageMs, linkMs, consumerMs } = problem
  const used = new Set(way.map(({ machine }) => machine))
  const spans = way.map(({ machine, start, end }) => ({
    ...{ machine: (machines[machine] as Machine).name, start, end },
    ...{ decodeMs: stageMs(machine, start, end), memoryBytes: spanBytes(model, { start, end }) }
  }))
  const links = way.map(({ machine }, hop) => {
    const next = way[hop + 1]
    return next === undefined ? consumerMs(machine) : linkMs(machine, next.machine)
  })
  const [first] = way
  const sum = [...spans.map(({ decodeMs }) => decodeMs), ...links].reduce(
    (sum, ms) => sum + ms,
    first === undefined ? 0 : consumerMs(first.machine)
  )
  const promptMs = way.map(({ machine, start, end }) => {
    const { prefillMsPerBlock, decodeMsPerBlock } = machines[machine] as Machine
    return (stageMs(machine, start, end) * prefillMsPerBlock) / decodeMsPerBlock
  })
  return {
    spans,
    dropped: machines.filter((_, index) => !used.has(index)).map(({ name }) => name),
    tokensPerSecond: 1000 / (objective === 'latency' ? sum : slowest(problem, way)),
    promptTokensPerSecond: 1000 / Math.max(...promptMs)
  }
}

function whatIsMissing(model: PlannedModel, machines: readonly Machine[]): string {
  const whole = spanBytes(model, { start: 0, end: model.blockCount })
  const memory = machines.reduce((sum, { memoryBytes }) => sum + memoryBytes, 0)
  const gigabytes = (bytes: number): string => `${(bytes / 1e9).toFixed(1)} GB`
  return (
    `These machines can't hold ${model.name} together: it needs ${gigabytes(whole)} and whole blocks on each of ` +
    `them, and they have ${gigabytes(memory)}. Add machines or memory, lower --context, or take a smaller quantization.`
  )
}
