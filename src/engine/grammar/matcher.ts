/**
 * Matches characters with a grammar, as llama.cpp does: a state is the set of all stacks that the text so far leaves
 * open. Equal stacks and states are one object each, and steps are remembered, so that most of a vocabulary costs a
 * look into a map per character. Work is bounded, since strangers write grammars whose states double with each character.
 */
import { EngineError } from '../errors.ts'
import type { CharacterClass, Grammar } from './gbnf.ts'

/** What is to be matched from `at` on, then `rest`. `at` is always a class. */
interface Stack {
  readonly at: number
  readonly rest: Stack | undefined
  readonly id: number
}

export interface State {
  /** By the class that they begin with. */
  readonly stacks: ReadonlyMap<CharacterClass, readonly Stack[]>
  /** The text may end here. */
  readonly isDone: boolean
  /** By code point; null: not allowed. */
  readonly steps: Map<number, State | null>
}

const END = 0
/** Ranges looked at for one draw: some 100 ms, within which all of a large vocabulary is matched with real grammars. */
const MAX_WORK = 20_000_000
/** A stack takes so much longer than a range. */
const STACK_WORK = 100
/** Added for each token that is matched again, after a rewind or on another node. */
const WORK_PER_TOKEN = 10_000
/** Kept for their next use; then all are forgotten. Some megabytes. */
const MAX_KEPT = 50_000

export class Matcher {
  readonly start: State
  /** Sequences, each with END after it. */
  readonly #symbols: number[] = []
  /** Where each rule's sequences begin. */
  readonly #starts: number[][]
  readonly #classes: readonly CharacterClass[]
  readonly #stacks = new Map<number, Stack>()
  readonly #states = new Map<string, State>()
  #lastId = 0
  #kept = 0
  #work = 0

  constructor({ rules, root, classes }: Grammar) {
    this.#classes = classes
    this.#starts = rules.map((alternatives) =>
      alternatives.map((sequence) => {
        const start = this.#symbols.length
        for (const symbol of sequence) this.#symbols.push(symbol)
        this.#symbols.push(END)
        return start
      })
    )
    const start = this.#close((this.#starts[root] as number[]).map((at) => this.#stack(at, undefined)))
    this.start = start as State // whatever a grammar is, it begins somehow
  }

  /** Work is counted anew. */
  beginDraw(): void {
    this.#work = 0
    if (this.#kept < MAX_KEPT) return
    this.#kept = 0
    // States lead to each other.
    for (const { steps } of [this.start, ...this.#states.values()]) steps.clear()
    this.#stacks.clear()
    this.#states.clear()
  }

  /** A token is matched that was drawn before. */
  allowToken(): void {
    this.#work = Math.max(0, this.#work - WORK_PER_TOKEN)
  }

  /** Undefined: the character is not allowed. */
  step(state: State, codePoint: number): State | undefined {
    const known = state.steps.get(codePoint)
    if (known !== undefined) return known ?? undefined
    const next: (Stack | undefined)[] = []
    for (const [value, stacks] of state.stacks) {
      this.#count(1 + value.ranges.length)
      if (!includes(value, codePoint)) continue
      for (const { at, rest } of stacks) next.push(this.#stack(at + 1, rest))
    }
    const found = next.length === 0 ? undefined : this.#close(next)
    state.steps.set(codePoint, found ?? null)
    this.#kept += 1
    return found
  }

  /** Whether any character from `low` to `high` is allowed. */
  canStep(state: State, low: number, high: number): boolean {
    return state.stacks.keys().some((value) => includesAny(value, low, high))
  }

  /** At the end of a sequence it is its rest: recursion at the end does not pile up. */
  #stack(at: number, rest: Stack | undefined): Stack | undefined {
    if (this.#symbols[at] === END) return rest
    const key = (rest?.id ?? 0) * this.#symbols.length + at
    let stack = this.#stacks.get(key)
    if (stack === undefined) {
      this.#lastId += 1
      this.#kept += 1
      stack = { at, rest, id: this.#lastId }
      this.#stacks.set(key, stack)
    }
    return stack
  }

  /** Rules are replaced by their sequences until all stacks begin with a class. */
  #close(todo: (Stack | undefined)[]): State | undefined {
    const seen = new Set<Stack>()
    const stacks: Stack[] = []
    let isDone = false
    while (todo.length > 0) {
      const stack = todo.pop()
      if (stack === undefined) isDone = true
      if (stack === undefined || seen.has(stack)) continue
      seen.add(stack)
      this.#count(STACK_WORK)
      const symbol = this.#symbols[stack.at] as number
      if (symbol < 0) stacks.push(stack)
      else {
        const rest = this.#stack(stack.at + 1, stack.rest)
        for (const at of this.#starts[symbol - 1] as number[]) todo.push(this.#stack(at, rest))
      }
    }
    return stacks.length === 0 && !isDone ? undefined : this.#state(stacks, isDone)
  }

  #state(stacks: Stack[], isDone: boolean): State {
    const key = `${isDone} ${stacks.map(({ id }) => id).toSorted((a, b) => a - b)}`
    let state = this.#states.get(key)
    if (state === undefined) {
      this.#kept += 1 + stacks.length
      const byClass = Map.groupBy(
        stacks,
        ({ at }) => this.#classes[-(this.#symbols[at] as number) - 1] as CharacterClass
      )
      state = { stacks: byClass, isDone, steps: new Map() }
      this.#states.set(key, state)
    }
    return state
  }

  #count(work: number): void {
    this.#work += work
    if (this.#work <= MAX_WORK) return
    const advice = 'make what it allows less ambiguous, or allow less at once'
    throw new EngineError('INPUT', `The grammar can be matched in too many ways: ${advice}.`)
  }
}

function includes(value: CharacterClass, codePoint: number): boolean {
  return includesAny(value, codePoint, codePoint) && codePoint !== 0 // as with llama.cpp, nothing matches NUL
}

/** Of a negated class at least one is taken to be allowed, unless a single range rules all of them out. */
function includesAny({ isNegated, ranges }: CharacterClass, low: number, high: number): boolean {
  for (let index = 0; index < ranges.length; index += 2) {
    const first = ranges[index] as number
    const last = ranges[index + 1] as number
    if (isNegated && first <= low && high <= last) return false
    if (!isNegated && first <= high && low <= last) return true
  }
  return isNegated
}
