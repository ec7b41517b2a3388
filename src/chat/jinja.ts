/**
 * Jinja templates of models, which come from strangers: what they compute is bounded in time and size. They can reach
 * nothing but what they are given.
 */
import { createContext, Script } from 'node:vm'
import { Environment, Interpreter, parse, tokenize } from '@huggingface/jinja'
import { strftime } from './strftime.ts'

/** The longest of known models has 40,000. */
const MAX_TEMPLATE = 262_144
/** A long conversation takes some 100 ms. */
const MAX_MS = 2_000
/** What engines tokenize at once. */
const MAX_TEXT = 16_777_216
/** Of all texts on the way, in characters: each is copied some ten times as it goes from block to block. */
const MAX_PRODUCED = 256 * 1024 * 1024
/** Values within a value. */
const MAX_VALUES = 1_000_000
const MAX_RANGE = 100_000

// The package's own types of these do not resolve for ES modules.
interface Value {
  readonly type: string
  readonly value: unknown
}
interface Evaluation {
  run(program: unknown): Value
  evaluate(statement: unknown, environment: unknown): Value
}
const Evaluator = Interpreter as unknown as new (environment: unknown) => Evaluation

/** Thrown where a template refuses what it is given (`refused`), or goes beyond its bounds. */
export class JinjaError extends Error {
  readonly isRefusal: boolean

  constructor(message: string, isRefusal: boolean, options?: ErrorOptions) {
    super(message, options)
    this.isRefusal = isRefusal
  }
}

export class Jinja {
  readonly #program: unknown
  readonly #now: () => Date

  /** Throws a JinjaError where it does not parse. */
  constructor(source: string, now: () => Date) {
    if (source.length > MAX_TEMPLATE) throw new JinjaError('it is too long', false)
    this.#now = now
    this.#program = limited(() => parse(tokenize(source, { lstrip_blocks: true, trim_blocks: true })))
  }

  /** Throws a JinjaError. */
  render(variables: Readonly<Record<string, unknown>>): string {
    const environment = new Environment()
    for (const [name, value] of Object.entries({ ...this.#globals(), ...variables }))
      environment.set(name, value)
    const text = limited(() => new BoundedInterpreter(environment).run(this.#program).value)
    if (typeof text !== 'string' || text.length > MAX_TEXT)
      throw new JinjaError('its text is too long', false)
    return text
  }

  #globals(): Record<string, unknown> {
    return {
      ...{ true: true, false: false, none: null, True: true, False: false, None: null },
      range,
      strftime_now: (format: unknown) => strftime(this.#now(), String(format)),
      raise_exception: (message: unknown) => {
        throw new JinjaError(String(message), true)
      }
    }
  }
}

const context = createContext({ run: undefined as (() => unknown) | undefined })
const script = new Script('run()')

/** The watchdog of vm scripts ends whatever they call, loops without end included. */
function limited<T>(run: () => T): T {
  let result: T | undefined
  context.run = () => {
    result = run()
  }
  try {
    script.runInContext(context, { timeout: MAX_MS })
    return result as T
  } catch (cause) {
    if (cause instanceof JinjaError) throw cause
    const code = (cause as NodeJS.ErrnoException).code
    if (code === 'ERR_SCRIPT_EXECUTION_TIMEOUT') throw new JinjaError('it takes too long', false, { cause })
    const message = cause instanceof Error ? cause.message : String(cause)
    throw new JinjaError(message, !(cause instanceof RangeError), { cause })
  } finally {
    context.run = undefined
  }
}

/** As Python's. */
function range(start: number, end?: number, step = 1): number[] {
  const [first, last] = end === undefined ? [0, start] : [start, end]
  const count = Math.max(0, Math.ceil((last - first) / step))
  if (!(count <= MAX_RANGE)) throw new JinjaError('a range in it is too long', false)
  return Array.from({ length: count }, (_, index) => first + index * step)
}

class BoundedInterpreter extends Evaluator {
  #produced = 0
  readonly #weights = new WeakMap<object, number>()

  override evaluate(statement: unknown, environment: unknown): Value {
    const value = super.evaluate(statement, environment)
    if (value === undefined) throw new JinjaError('a filter in it found nothing', true)
    if (typeof value.value === 'string') {
      this.#produced += value.value.length
      if (this.#produced > MAX_PRODUCED) throw new JinjaError('it makes too much text', false)
    } else if (typeof value.value === 'object' && value.value !== null) this.#weigh(value, 0)
    return value
  }

  /** Counts a value as often as it would be written; undefined where it can still change. */
  #weigh(value: Value, above: number): number | undefined {
    const inner: unknown = value.value
    if (typeof inner !== 'object' || inner === null) return 1
    const known = this.#weights.get(value)
    if (known !== undefined && above + known <= MAX_VALUES) return known
    let weight = 1
    let isFixed = value.type !== 'NamespaceValue'
    for (const part of (inner as Value[] | Map<string, Value>).values()) {
      const more = this.#weigh(part, above + weight)
      weight += more ?? this.#counted
      isFixed &&= more !== undefined
      if (above + weight > MAX_VALUES) throw new JinjaError('it makes too many values', false)
    }
    if (isFixed) this.#weights.set(value, weight)
    else this.#counted = weight
    return isFixed ? weight : undefined
  }

  /** The weight of the changing value that was weighed last. */
  #counted = 0
}
