/** The search behind the planner: the fastest way through a model's blocks, over machines in any order. */

export interface Problem {
  readonly blockCount: number
  /** How many. */
  readonly machines: number
  /** By machine: for each start, where the longest span from there ends. */
  readonly ends: readonly Uint16Array[]
  /** Infinity: it must not be. */
  readonly stageMs: (machine: number, start: number, end: number) => number
  readonly linkMs: (from: number, to: number) => number
  readonly consumerMs: (machine: number) => number
}

/** Stages in the order of the chain. */
export type Way = readonly { readonly machine: number; readonly start: number; readonly end: number }[]

/** `sum`: stages and links, one after the other. `slowest`: the slowest stage alone. */
export type Measure = 'sum' | 'slowest'

/** Of so many machines all orders are tried: some four million states for a model with 80 blocks. */
const EXACT_MACHINES = 12
/** Of more, the fastest are tried that could hold the model so many times over, and at least so many. */
const TIMES_OVER = 2
const MOST_MACHINES = 24
/** Orders that are tried of those; and of a few, so that most of what is slower need not be looked at. */
const MOST_ORDERS = 300
const FIRST_ORDERS = 30

/** Undefined: the memory does not suffice. Exact for up to twelve machines. */
export function fastestWay(problem: Problem, measure: Measure): Way | undefined {
  const search = new Search(problem, measure)
  const isExact = problem.machines <= EXACT_MACHINES
  const good = goodOrder(problem, search, isExact ? FIRST_ORDERS : MOST_ORDERS)
  if (!isExact) return good?.way
  const memory = measure === 'sum' ? anyOrder(problem.machines) : anySet(problem.machines)
  return (search.run(memory, good?.ms) ?? good)?.way
}

/** What has to be remembered of the stages so far, as a number: 0 of none. */
interface Memory {
  readonly size: number
  /** Who may be next. */
  after(key: number): readonly Turn[]
}

interface Turn {
  readonly machine: number
  readonly key: number
}

/** Which machines were used, and which was the last, since the next link begins there (Held and Karp, 1962). */
function anyOrder(machines: number): Memory {
  const keyOf = (set: number, last: number): number => set * machines + last
  return remembered(machines << machines, (key) => {
    const used = Math.floor(key / machines)
    return unused(used, machines).map((machine) => ({ machine, key: keyOf(used | (1 << machine), machine) }))
  })
}

/** Which machines were used. */
function anySet(machines: number): Memory {
  return remembered(1 << machines, (used) =>
    unused(used, machines).map((machine) => ({ machine, key: used | (1 << machine) }))
  )
}

function unused(used: number, machines: number): number[] {
  return upTo(machines).filter((machine) => (used & (1 << machine)) === 0)
}

/** Whose turn it was last. */
function oneOrder(order: readonly number[]): Memory {
  const turns = order.map((machine, index) => ({ machine, key: index + 1 }))
  return remembered(order.length + 1, (key) => turns.slice(key))
}

function remembered(size: number, after: (key: number) => readonly Turn[]): Memory {
  const known: (readonly Turn[])[] = []
  return {
    size,
    after(key) {
      known[key] ??= after(key)
      return known[key]
    }
  }
}

function upTo(count: number): number[] {
  return Array.from({ length: count }, (_, index) => index)
}

interface Found {
  readonly ms: number
  readonly way: Way
}

/** A dynamic program over the blocks covered so far and the memory of who covers them. */
class Search {
  readonly #problem: Problem
  readonly #measure: Measure
  /** By machine and first block: what its spans from there take, by their length. */
  readonly #costs: readonly (readonly Float64Array[])[]
  /** What the blocks from each on take at least. */
  readonly #leastMs: Float64Array

  constructor(problem: Problem, measure: Measure) {
    const { machines, blockCount, ends, stageMs } = problem
    this.#problem = problem
    this.#measure = measure
    this.#costs = upTo(machines).map((machine) =>
      upTo(blockCount).map((start) => {
        const most = (ends[machine]?.[start] ?? start) - start
        return Float64Array.from({ length: most }, (_, index) => stageMs(machine, start, start + index + 1))
      })
    )
    this.#leastMs = measure === 'sum' ? leastFrom(problem) : new Float64Array(blockCount + 1)
  }

  /** The fastest way that takes less than `limitMs`. */
  run(memory: Memory, limitMs = Number.POSITIVE_INFINITY): Found | undefined {
    const { blockCount, consumerMs } = this.#problem
    const { size } = memory
    const isSum = this.#measure === 'sum'
    const states = (blockCount + 1) * size
    const best = new Float64Array(states).fill(Number.POSITIVE_INFINITY)
    /** The state before, and the machine that led from there to here. */
    const before = new Int32Array(states)
    const by = new Uint16Array(states)
    best[0] = 0
    for (let state = 0; state < blockCount * size; state++) {
      const ms = best[state] as number
      if (ms === Number.POSITIVE_INFINITY) continue
      const at = Math.floor(state / size)
      for (const { machine, key } of memory.after(state % size)) {
        const entered = isSum ? ms + this.#linkMs(at, by[state] as number, machine) : ms
        const costs = this.#costs[machine]?.[at] as Float64Array
        for (let length = 1; length <= costs.length; length++) {
          const cost = costs[length - 1] as number
          const total = isSum ? entered + cost : Math.max(entered, cost)
          const reached = (at + length) * size + key
          if (total >= (best[reached] as number)) continue
          if (total + (this.#leastMs[at + length] as number) >= limitMs) continue
          best[reached] = total
          before[reached] = state
          by[reached] = machine
        }
      }
    }
    const found = { ms: limitMs, state: 0 }
    for (let state = blockCount * size; state < states; state++) {
      const ms = (best[state] as number) + (isSum ? consumerMs(by[state] as number) : 0)
      if (ms < found.ms) Object.assign(found, { ms, state })
    }
    if (found.state === 0) return undefined
    const way: { machine: number; start: number; end: number }[] = []
    for (let { state } = found; state > 0; state = before[state] as number) {
      const start = Math.floor((before[state] as number) / size)
      way.unshift({ machine: by[state] as number, start, end: Math.floor(state / size) })
    }
    return { ms: found.ms, way }
  }

  #linkMs(at: number, last: number, next: number): number {
    return at === 0 ? this.#problem.consumerMs(next) : this.#problem.linkMs(last, next)
  }
}

/** What the blocks from each on take at least, each on the machine that is the fastest at it. */
function leastFrom({ blockCount, machines, stageMs }: Problem): Float64Array {
  const least = new Float64Array(blockCount + 1)
  for (let block = blockCount - 1; block >= 0; block--) {
    const ms = upTo(machines).map((machine) => stageMs(machine, block, block + 1))
    least[block] = (least[block + 1] as number) + Math.min(...ms)
  }
  return least
}

/** Begins with the fastest machines, and moves one after the other to another place for as long as that helps. */
function goodOrder(problem: Problem, search: Search, mostOrders: number): Found | undefined {
  let order = fastest(problem)
  let found = search.run(oneOrder(order))
  let tried = 1
  let hasImproved = true
  while (hasImproved && tried < mostOrders) {
    hasImproved = false
    for (const machine of [...order]) {
      for (let place = 0; place < order.length && tried < mostOrders; place++) {
        const other = order.filter((one) => one !== machine).toSpliced(place, 0, machine)
        const better = search.run(oneOrder(other), found?.ms)
        tried++
        if (better === undefined) continue
        found = better
        order = other
        hasImproved = true
      }
    }
  }
  return found
}

/** By what a block takes on them, with half of the way there and back. */
function fastest({ machines, blockCount, ends, stageMs }: Problem): number[] {
  const middle = blockCount >> 1
  const order = upTo(machines).sort((a, b) => stageMs(a, middle, middle + 1) - stageMs(b, middle, middle + 1))
  let held = 0
  const isEnough = (count: number): boolean => count >= MOST_MACHINES && held >= TIMES_OVER * blockCount
  return order.filter((machine, index) => {
    if (isEnough(index)) return false
    held += (ends[machine]?.[middle] ?? middle) - middle
    return true
  })
}
