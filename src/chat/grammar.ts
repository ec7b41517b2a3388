/**
 * JSON Schema to GBNF: all that the grammar lets through follows the schema, though not all that follows the schema is
 * let through (properties come in the schema's order, for one). What can't be promised is refused.
 * The way of writing it down is llama.cpp's json-schema-to-grammar.
 */
import type { JsonSchema } from './contract.ts'
import { either, literal, Rules, repeated } from './gbnf.ts'
import { ANY_DEPTH, anyValue, spaceRule, stringRule } from './grammar-any.ts'
import {
  ASSERTIONS,
  count,
  isOf,
  isReference,
  likelyKinds,
  needed,
  numberBody,
  patternOf,
  requiredOf
} from './grammar-keywords.ts'
import { isObject, type Kind, kindsOf, type Plain, propertiesOf, refuse, Ways } from './grammar-merge.ts'
import { patternBody } from './grammar-patterns.ts'

export { jsonGrammar } from './grammar-any.ts'

/** Schemas in schemas, references followed. */
const MAX_DEPTH = 100
const MAX_STEPS = 10_000
/** Of a property beside which others are allowed: each character is a rule. */
const MAX_NAME = 256
/** One that counts as one for everybody. */
const COUNTED =
  '([^"\\x5c\\x00-\\x1f\\x7f\\U00010000-\\U0010ffff] | "\\\\" (["\\x5c/bfnrt] | "u" ([0-9a-cefA-CEF] [0-9a-fA-F]{3} | [dD] [0-7] [0-9a-fA-F]{2})))'
const PLAIN_KEY = '[^"\\x5c\\x00-\\x1f\\x7f]'

/** Throws an AnswerError INPUT that names what is not supported. */
export function grammarOf(schema: JsonSchema): string {
  const rules = new Rules()
  return rules.text(new SchemaGrammar(rules, schema).root())
}

/** Adds the rules of one schema to others. */
export class SchemaGrammar {
  readonly #rules: Rules
  readonly #schema: unknown
  readonly #ways: Ways
  readonly #known = new Map<unknown, string | undefined>()
  /** Those that are being written, and the names by which they refer to themselves. */
  readonly #open = new Map<unknown, string | undefined>()

  constructor(rules: Rules, schema: unknown) {
    this.#rules = rules
    this.#schema = schema
    this.#ways = new Ways(schema)
  }

  root(): string {
    return this.#rule(this.#schema) ?? refuse('no value follows it')
  }

  /** Undefined where no value follows it. */
  #rule(schema: unknown): string | undefined {
    const target = isObject(schema) && isReference(schema) ? this.#ways.resolve(schema.$ref) : schema
    if (target !== schema) return this.#nested(() => this.#rule(target))
    if (this.#known.has(schema)) return this.#known.get(schema)
    if (isObject(schema) && this.#open.has(schema)) {
      const name = this.#open.get(schema) ?? this.#rules.reserve()
      this.#open.set(schema, name)
      return name
    }
    return this.#nested(() => this.#written(schema))
  }

  #depth = 0

  #nested<T>(write: () => T): T {
    if (++this.#depth > MAX_DEPTH) refuse('it is nested too deep, or grows as it refers to itself')
    try {
      return write()
    } finally {
      this.#depth--
    }
  }

  #written(schema: unknown): string | undefined {
    this.#open.set(schema, undefined)
    const bodies = this.#ways.of(schema).flatMap((way) => this.#plain(way))
    const name = this.#open.get(schema)
    this.#open.delete(schema)
    if (name !== undefined) {
      if (!this.#isFinite(schema, new Set())) refuse('no value is finite: what it requires contains itself')
      this.#rules.define(name, either(bodies))
    }
    const rule = bodies.length === 0 ? undefined : (name ?? this.#rules.add(either(bodies)))
    this.#known.set(schema, rule)
    return rule
  }

  #steps = 0

  /** Whether it can be followed without coming back to it. */
  #isFinite(schema: unknown, above: ReadonlySet<unknown>): boolean {
    if (++this.#steps > MAX_STEPS) refuse('it refers to itself in too many ways')
    if (!isObject(schema)) return schema !== false
    if (above.has(schema)) return false
    const inside = new Set(above).add(schema)
    return this.#ways.of(schema).some((way) => needed(way).every((part) => this.#isFinite(part, inside)))
  }

  /** A body for each kind of value. */
  #plain(schema: Plain): string[] {
    if (schema.enum !== undefined) return this.#values(schema)
    if (schema.type === undefined && ASSERTIONS.every((keyword) => schema[keyword] === undefined)) {
      return [anyValue(this.#rules, ANY_DEPTH)]
    }
    const bodies: string[] = []
    for (const kind of kindsOf(schema) ?? likelyKinds(schema)) {
      const body = this.#kind(kind, schema)
      if (body !== undefined) bodies.push(body)
    }
    return bodies
  }

  #values(schema: Plain): string[] {
    const { enum: values } = schema
    if (!Array.isArray(values)) refuse('"enum" is not a list')
    const beside = ASSERTIONS.find((keyword) => schema[keyword] !== undefined)
    if (beside !== undefined) refuse(`"${beside}" beside "enum" or "const" is not supported`)
    const kinds = kindsOf(schema)
    const fits = (value: unknown): boolean => kinds?.some((kind) => isOf(kind, value)) ?? true
    return values.filter(fits).map((value) => literal(JSON.stringify(value)))
  }

  #kind(kind: Kind, schema: Plain): string | undefined {
    if (kind === 'null') return '"null"'
    if (kind === 'boolean') return '("true" | "false")'
    if (kind === 'integer' || kind === 'number') return numberBody(kind, schema)
    if (kind === 'string') return this.#string(schema)
    return kind === 'array' ? this.#array(schema) : this.#object(schema)
  }

  #string(schema: Plain): string | undefined {
    const min = count(schema, 'minLength') ?? 0
    const max = count(schema, 'maxLength')
    if (max !== undefined && max < min) return undefined
    const pattern = patternOf(schema)
    if (pattern !== undefined) {
      const body = patternBody(this.#rules, pattern, { min, max: max ?? Infinity })
      return body === undefined ? undefined : `"\\"" ${body} "\\""`
    }
    if (min === 0 && max === undefined) return stringRule(this.#rules)
    return `"\\"" ${repeated(this.#rules, COUNTED, min, max)} "\\""`
  }

  #array(schema: Plain): string | undefined {
    const { prefixItems = [], items, uniqueItems } = schema
    if (!Array.isArray(prefixItems)) refuse('"prefixItems" is not a list')
    const min = count(schema, 'minItems') ?? 0
    let max = count(schema, 'maxItems') ?? Infinity
    if (uniqueItems === true && max > 1) refuse('"uniqueItems" is not supported')
    const first: string[] = []
    for (const item of prefixItems.slice(0, Math.min(max, prefixItems.length))) {
      const rule = this.#rule(item)
      if (rule === undefined) break
      first.push(rule)
    }
    if (first.length < prefixItems.length) max = Math.min(max, first.length)
    // Where nothing is said of what follows the first, nothing does unless it has to.
    const goesOn = max > first.length && (items !== undefined || first.length === 0 || min > first.length)
    const other = goesOn ? this.#rule(items ?? true) : undefined
    if (other === undefined) max = Math.min(max, first.length)
    return max < min ? undefined : this.#list(first, other, min, max)
  }

  #list(first: readonly string[], other: string | undefined, min: number, max: number): string {
    const rules = this.#rules
    const space = spaceRule(rules)
    const comma = (rule: string): string => `${space} "," ${space} ${rule}`
    let rest = ''
    const begun = Math.max(first.length, 1)
    if (other !== undefined && max > begun) {
      rest = repeated(
        rules,
        comma(other),
        Math.max(min - begun, 0),
        max === Infinity ? undefined : max - begun
      )
    }
    const items = first.length === 0 && other !== undefined && max > 0 ? [other] : first
    for (let index = items.length - 1; index >= 0; index--) {
      const item = items[index] as string
      rest = `${index === 0 ? item : comma(item)} ${rest}`.trim()
      if (index >= min) rest = `(${rules.add(rest)})?`
    }
    return `"[" ${space} ${rest} ${space} "]"`
  }

  #object(schema: Plain): string | undefined {
    const properties = propertiesOf(schema)
    const required = requiredOf(schema)
    const { additionalProperties = true } = schema
    const entries: { body: string; isRequired: boolean }[] = []
    for (const name of new Set([...Object.keys(properties), ...required])) {
      const rule = this.#rule(Object.hasOwn(properties, name) ? properties[name] : additionalProperties)
      const isRequired = required.has(name)
      if (rule === undefined && isRequired) return undefined
      if (rule !== undefined)
        entries.push({ body: this.#entry(literal(JSON.stringify(name)), rule), isRequired })
    }
    // Properties that nobody has named come only where the schema speaks of them, or of nothing.
    const isOpen = isObject(additionalProperties) || (entries.length === 0 && additionalProperties !== false)
    const extra = isOpen ? this.#rule(additionalProperties) : undefined
    const others =
      extra === undefined ? undefined : this.#entry(this.#otherKey(Object.keys(properties)), extra)
    const limited = this.#limited(schema, entries, others)
    if (limited === undefined) return undefined
    const space = spaceRule(this.#rules)
    return `"{" ${space} ${limited} ${space} "}"`
  }

  #entry(key: string, value: string): string {
    const space = spaceRule(this.#rules)
    return this.#rules.add(`${key} ${space} ":" ${space} ${value}`)
  }

  /** Any name but these, which are no names of others in disguise: nothing is escaped in it. */
  #otherKey(names: readonly string[]): string {
    if (names.some((name) => name.length > MAX_NAME)) refuse('a property has too long a name')
    return this.#rules.add(`"\\"" ${this.#nameWithout(names, 0)} "\\""`)
  }

  #nameWithout(names: readonly string[], at: number): string {
    const next = new Map<string, string[]>()
    for (const name of names) {
      const letter = [...name][at]
      if (letter !== undefined) next.set(letter, [...(next.get(letter) ?? []), name])
    }
    const letters = [...next.keys()].filter((letter) => jsonCharacter(letter))
    const points = letters.map((letter) => letter.codePointAt(0) as number)
    const hex = points.map((point) => `\\U${point.toString(16).padStart(8, '0')}`).join('')
    const ways = [`${PLAIN_KEY.slice(0, -1)}${hex}] ${this.#rules.add(PLAIN_KEY)}*`]
    for (const letter of letters) {
      ways.push(`${literal(letter)} ${this.#nameWithout(next.get(letter) as string[], at + 1)}`)
    }
    const isName = names.some((name) => [...name].length === at)
    return this.#rules.add(`(${ways.join(' | ')})${isName ? '' : '?'}`)
  }

  /** The entries between the braces, for a number of properties that can be promised. */
  #limited(
    schema: Plain,
    entries: readonly { body: string; isRequired: boolean }[],
    others: string | undefined
  ): string | undefined {
    const min = count(schema, 'minProperties') ?? 0
    const max = count(schema, 'maxProperties') ?? Infinity
    const required = entries.filter(({ isRequired }) => isRequired)
    if (required.length > max) return undefined
    if (min > required.length) {
      if (min === 1 && required.length === 0) return this.#atLeastOne(entries, others, max)
      refuse('"minProperties" beyond the required ones is not supported')
    }
    if (entries.length > max) return this.#entries(required, undefined, 0)
    return this.#entries(entries, others, max - entries.length)
  }

  #atLeastOne(
    entries: readonly { body: string; isRequired: boolean }[],
    others: string | undefined,
    max: number
  ): string | undefined {
    const ways = entries.map(({ body }) => body)
    if (others !== undefined) ways.push(others)
    if (max > 1 && others !== undefined && entries.length === 0) {
      return this.#entries([{ body: others, isRequired: true }], others, max - 1)
    }
    return ways.length === 0 ? undefined : either(ways)
  }

  #entries(
    entries: readonly { body: string; isRequired: boolean }[],
    others: string | undefined,
    maxOthers: number
  ): string {
    const rules = this.#rules
    const space = spaceRule(rules)
    const comma = `${space} "," ${space}`
    const most = maxOthers === Infinity ? undefined : maxOthers
    const more = others !== undefined && maxOthers > 0
    const after = more ? repeated(rules, `${comma} ${others}`, 0, most) : ''
    const begin = entries.findIndex(({ isRequired }) => isRequired)
    if (begin >= 0) {
      const parts = entries.map(({ body, isRequired }, index) => {
        if (index < begin) return `(${body} ${comma})?`
        if (index === begin) return body
        return isRequired ? `${comma} ${body}` : `(${comma} ${body})?`
      })
      return [...parts, after].join(' ').trim()
    }
    let rest = after
    const fewer = most === undefined ? undefined : most - 1
    const starts = more ? [`${others} ${repeated(rules, `${comma} ${others}`, 0, fewer)}`] : []
    for (const { body } of entries.toReversed()) {
      starts.unshift(`${body} ${rest}`)
      rest = rules.add(`(${comma} ${body})? ${rest}`.trim())
    }
    return starts.length === 0 ? '' : `(${starts.join(' | ')})?`
  }
}

/** Whether JSON takes it as it is. */
function jsonCharacter(letter: string): boolean {
  return JSON.stringify(letter) === `"${letter}"` && letter !== '\x7f'
}
