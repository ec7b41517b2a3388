/** What a JSON Schema says in several places, said in one: references, allOf, anyOf, oneOf. */
import type { JsonSchema } from './contract.ts'
import { AnswerError } from './errors.ts'

/** Schemas that a combination may have: each is a way for the text to go. */
const MAX_WAYS = 256
/** References to references, and combinations in combinations. */
const MAX_NESTING = 64

export const KINDS = ['null', 'boolean', 'integer', 'number', 'string', 'array', 'object'] as const
export type Kind = (typeof KINDS)[number]

/** Schemas looked at and properties merged: some milliseconds. */
const MAX_WORK = 100_000

/** A schema without combinations. What has to hold for a part of it twice is an allOf there. */
export type Plain = Readonly<Record<string, unknown>>

const REFUSED = [
  ...['not', 'if', 'then', 'else', 'dependentRequired', 'dependentSchemas', 'dependencies'],
  ...['patternProperties', 'propertyNames', 'unevaluatedProperties', 'unevaluatedItems', 'contains'],
  ...['minContains', 'maxContains', '$dynamicRef', '$recursiveRef']
]
const LARGER = ['minimum', 'exclusiveMinimum', 'minLength', 'minItems', 'minProperties']
const SMALLER = ['maximum', 'exclusiveMaximum', 'maxLength', 'maxItems', 'maxProperties']
const EQUAL = ['pattern', 'format', 'multipleOf', 'prefixItems', 'uniqueItems']

export function refuse(message: string): never {
  throw new AnswerError('INPUT', `The schema can't be used: ${message}.`, { field: 'format' })
}

export function isObject(value: unknown): value is JsonSchema {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

/** The kinds of value that a plain schema allows; undefined: any. */
export function kindsOf(schema: Plain): readonly Kind[] | undefined {
  if (schema.type === undefined) return undefined
  const types = Array.isArray(schema.type) ? schema.type : [schema.type]
  for (const type of types) if (!KINDS.includes(type)) refuse(`there is no type ${JSON.stringify(type)}`)
  return types
}

/** The schemas one of which a value has to follow; none: no value does. */
export class Ways {
  readonly #root: unknown
  #work = 0

  constructor(root: unknown) {
    this.#root = root
  }

  of(schema: unknown, nesting = 0): Plain[] {
    this.#count(1)
    if (nesting > MAX_NESTING) refuse('it refers to itself without end, or is nested too deep')
    if (schema === true) return [{}]
    if (schema === false) return []
    if (!isObject(schema)) refuse(`${JSON.stringify(schema)} stands where a schema belongs`)
    const refused = REFUSED.find((keyword) => schema[keyword] !== undefined)
    if (refused !== undefined) refuse(`"${refused}" is not supported`)
    let ways: Plain[] = [own(schema)]
    if (schema.$ref !== undefined)
      ways = this.#combined(ways, this.of(this.resolve(schema.$ref), nesting + 1))
    for (const part of list(schema, 'allOf')) ways = this.#combined(ways, this.of(part, nesting + 1))
    if (schema.anyOf !== undefined) {
      const any = list(schema, 'anyOf').flatMap((part) => this.of(part, nesting + 1))
      ways = this.#combined(ways, any)
    }
    if (schema.oneOf !== undefined) ways = this.#combined(ways, this.#one(list(schema, 'oneOf'), nesting))
    if (schema.nullable === true) ways.push({ type: 'null' })
    return ways
  }

  #count(work: number): void {
    this.#work += work
    if (this.#work > MAX_WORK) refuse('there are too many combinations in it')
  }

  #combined(some: readonly Plain[], others: readonly Plain[]): Plain[] {
    if (some.length * others.length > MAX_WAYS) {
      refuse(`its alternatives make more than ${MAX_WAYS} combinations`)
    }
    return some.flatMap((a) => others.map((b) => this.#merged(a, b))).filter((way) => way !== undefined)
  }

  #merged(a: Plain, b: Plain): Plain | undefined {
    this.#count(Object.keys(propertiesOf(a)).length + Object.keys(propertiesOf(b)).length)
    return merge(a, b)
  }

  #one(parts: readonly unknown[], nesting: number): Plain[] {
    const ways = parts.map((part) => this.of(part, nesting + 1))
    for (const [index, some] of ways.entries()) {
      for (const others of ways.slice(index + 1)) {
        if (some.some((a) => others.some((b) => !this.#areApart(a, b, nesting)))) {
          refuse('a value could follow two schemas of a "oneOf" at once; use "anyOf"')
        }
      }
    }
    return ways.flat()
  }

  /** Whether no value follows both: of different kinds, or one of their properties can't be the same. */
  #areApart(a: Plain, b: Plain, nesting: number): boolean {
    const both = this.#merged(a, b)
    if (both === undefined) return true
    const kinds = kindsOf(both)
    if (kinds?.length !== 1 || kinds[0] !== 'object') return false
    const required = (both.required ?? []) as readonly string[]
    const properties = (both.properties ?? {}) as JsonSchema
    return required.some((name) => {
      const property = Object.hasOwn(properties, name) ? properties[name] : {}
      return this.of(property, nesting + 1).length === 0
    })
  }

  /** Throws unless it is a pointer into the schema itself. */
  resolve(reference: unknown): unknown {
    if (typeof reference !== 'string' || !/^#(\/|$)/.test(reference)) {
      refuse(`the reference ${JSON.stringify(reference)} is not a pointer into the schema, as "#/$defs/name"`)
    }
    let found = this.#root
    for (const step of reference.split('/').slice(1)) {
      const key = unescaped(step)
      if (typeof found !== 'object' || found === null || !Object.hasOwn(found, key)) {
        refuse(`the reference ${JSON.stringify(reference)} leads nowhere`)
      }
      found = (found as Record<string, unknown>)[key]
    }
    return found
  }
}

function unescaped(step: string): string {
  const text = step.replaceAll('~1', '/').replaceAll('~0', '~')
  try {
    return decodeURIComponent(text)
  } catch {
    return text
  }
}

function list(schema: JsonSchema, keyword: string): readonly unknown[] {
  const parts = schema[keyword] ?? []
  if (!Array.isArray(parts) || parts.length > MAX_WAYS) refuse(`"${keyword}" is not a list, or too long`)
  return parts
}

/** What a schema says itself, older spellings as the newer ones. */
function own(schema: JsonSchema): Plain {
  const { $ref, allOf, anyOf, oneOf, nullable, const: constant, items, additionalItems, ...rest } = schema
  const plain: Record<string, unknown> = rest
  if (constant !== undefined) plain.enum = [constant]
  if (constant !== undefined && schema.enum !== undefined)
    plain.enum = common([constant], list(schema, 'enum'))
  if (Array.isArray(items)) {
    plain.prefixItems = items
    if (additionalItems !== undefined) plain.items = additionalItems
  } else if (items !== undefined) plain.items = items
  return plain
}

/** What both say; undefined where no value follows both. */
function merge(a: Plain, b: Plain): Plain | undefined {
  const merged: Record<string, unknown> = { ...a, ...b }
  const [some, others] = [kindsOf(a), kindsOf(b)]
  if (some !== undefined && others !== undefined) {
    const type = commonKinds(some, others)
    if (type.length === 0) return undefined
    merged.type = type
  }
  if (a.enum !== undefined && b.enum !== undefined) {
    merged.enum = common(list(a, 'enum'), list(b, 'enum'))
    if ((merged.enum as unknown[]).length === 0) return undefined
  }
  for (const [keywords, pick] of [
    [LARGER, Math.max],
    [SMALLER, Math.min]
  ] as const) {
    for (const keyword of keywords) {
      const values = [a[keyword], b[keyword]].filter((value) => value !== undefined)
      if (values.length === 2) merged[keyword] = pick(values[0] as number, values[1] as number)
    }
  }
  for (const keyword of EQUAL) {
    if (a[keyword] === undefined || b[keyword] === undefined || same(a[keyword], b[keyword])) continue
    refuse(`two different values of "${keyword}" have to hold at once`)
  }
  for (const [one, other] of [
    [a, b],
    [b, a]
  ] as const) {
    if (one.prefixItems === undefined || other.prefixItems !== undefined || other.items === undefined)
      continue
    refuse('"prefixItems" and another schema\'s "items" have to hold at once')
  }
  if (a.items !== undefined && b.items !== undefined && !same(a.items, b.items)) {
    if (merged.prefixItems !== undefined) refuse('two "items" beside "prefixItems" have to hold at once')
    merged.items = { allOf: [a.items, b.items] }
  }
  mergeProperties(merged, a, b)
  return merged
}

function mergeProperties(merged: Record<string, unknown>, a: Plain, b: Plain): void {
  const names = [...new Set([...Object.keys(propertiesOf(a)), ...Object.keys(propertiesOf(b))])]
  if (names.length > 0) {
    const parts = names.map((name) => [name, both(property(a, name), property(b, name))] as const)
    merged.properties = Object.fromEntries(parts)
  }
  if (a.required !== undefined && b.required !== undefined) {
    merged.required = [...new Set([...list(a, 'required'), ...list(b, 'required')])]
  }
  if (a.additionalProperties !== undefined && b.additionalProperties !== undefined) {
    merged.additionalProperties = both(a.additionalProperties, b.additionalProperties)
  }
}

export function propertiesOf(schema: Plain): JsonSchema {
  const { properties = {} } = schema
  if (!isObject(properties)) refuse('"properties" is not an object')
  return properties
}

/** What a schema says of a property, by name or as one of the others. */
function property(schema: Plain, name: string): unknown {
  const properties = propertiesOf(schema)
  return Object.hasOwn(properties, name) ? properties[name] : (schema.additionalProperties ?? true)
}

function both(a: unknown, b: unknown): unknown {
  if (a === true || same(a, b)) return b
  if (b === true) return a
  return a === false || b === false ? false : { allOf: [a, b] }
}

function commonKinds(some: readonly Kind[], others: readonly Kind[]): readonly Kind[] {
  const wide = (kinds: readonly Kind[]): readonly Kind[] =>
    kinds.includes('number') ? [...kinds, 'integer'] : kinds
  const kinds = wide(some).filter((kind) => wide(others).includes(kind))
  return kinds.includes('number') ? kinds.filter((kind) => kind !== 'integer') : kinds
}

function common(some: readonly unknown[], others: readonly unknown[]): unknown[] {
  return some.filter((value) => others.some((other) => same(value, other)))
}

function same(a: unknown, b: unknown): boolean {
  return a === b || JSON.stringify(a) === JSON.stringify(b)
}
