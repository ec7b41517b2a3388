/** What the keywords of a plain schema say, checked: they come from anybody. */
import type { JsonSchema } from './contract.ts'
import { either, literal } from './gbnf.ts'
import { FORMATS } from './grammar-formats.ts'
import { isObject, type Kind, kindsOf, type Plain, propertiesOf, refuse } from './grammar-merge.ts'
import { type Bounds, decimals, integers } from './grammar-numbers.ts'

/** Multiples that are written out one by one. */
const MAX_MULTIPLES = 1_000
const NUMERIC = ['minimum', 'maximum', 'exclusiveMinimum', 'exclusiveMaximum', 'multipleOf']
const TEXTUAL = ['minLength', 'maxLength', 'pattern', 'format']
const LISTED = ['items', 'prefixItems', 'minItems', 'maxItems', 'uniqueItems']
const KEYED = ['properties', 'required', 'additionalProperties', 'minProperties', 'maxProperties']
export const ASSERTIONS = [...NUMERIC, ...TEXTUAL, ...LISTED, ...KEYED]

/** Where no type is given: the kind that the schema speaks of. */
export function likelyKinds(schema: Plain): readonly Kind[] {
  const speaks = (keywords: readonly string[]): boolean => keywords.some((word) => schema[word] !== undefined)
  if (speaks(KEYED)) return ['object']
  if (speaks(LISTED)) return ['array']
  if (speaks(TEXTUAL)) return ['string']
  return ['number']
}

/** What no value can be without. */
export function needed(schema: Plain): readonly unknown[] {
  const [kind, ...more] = kindsOf(schema) ?? likelyKinds(schema)
  if (more.length > 0 || schema.enum !== undefined) return []
  if (kind === 'array') return (count(schema, 'minItems') ?? 0) > 0 ? [schema.items ?? true] : []
  if (kind !== 'object') return []
  const properties = propertiesOf(schema)
  return [...requiredOf(schema)].map((name) => (Object.hasOwn(properties, name) ? properties[name] : true))
}

/** Whether all that is said is its type and what it is for. */
export function isReference(schema: JsonSchema): boolean {
  const said = ['type', 'enum', 'const', 'anyOf', 'oneOf', 'allOf', 'nullable', ...ASSERTIONS]
  return schema.$ref !== undefined && said.every((keyword) => schema[keyword] === undefined)
}

export function numberBody(kind: 'integer' | 'number', schema: Plain): string | undefined {
  const bounds: Record<string, number> = {}
  for (const keyword of NUMERIC) {
    const value = schema[keyword]
    if (value === undefined) continue
    if (typeof value !== 'number' || !Number.isFinite(value)) refuse(`"${keyword}" is not a number`)
    bounds[keyword] = value
  }
  const { multipleOf } = bounds
  const isInteger = kind === 'integer' || multipleOf === 1
  if (multipleOf !== undefined && multipleOf !== 1) return multiples(multipleOf, bounds, isInteger)
  const format = typeof schema.format === 'string' ? INTEGER_FORMATS[schema.format] : undefined
  if (format === undefined || !isInteger) return isInteger ? integers(bounds) : decimals(bounds)
  const minimum = Math.max(bounds.minimum ?? -Infinity, format[0])
  return integers({ ...bounds, minimum, maximum: Math.min(bounds.maximum ?? Infinity, format[1]) })
}

const INTEGER_FORMATS: Readonly<Record<string, readonly [number, number]>> = {
  int32: [-(2 ** 31), 2 ** 31 - 1],
  uint32: [0, 2 ** 32 - 1],
  uint64: [0, Number.MAX_SAFE_INTEGER]
}

/** Only where they are whole and few: their list. */
function multiples(step: number, bounds: Bounds, isInteger: boolean): string | undefined {
  const low = Math.max(bounds.minimum ?? -Infinity, bounds.exclusiveMinimum ?? -Infinity)
  const high = Math.min(bounds.maximum ?? Infinity, bounds.exclusiveMaximum ?? Infinity)
  if (!Number.isInteger(step) || step <= 0 || !((high - low) / step <= MAX_MULTIPLES)) {
    const what = isInteger ? 'integers' : 'numbers'
    refuse(`"multipleOf" is supported for whole steps between bounds only, at most ${MAX_MULTIPLES} ${what}`)
  }
  const values: string[] = []
  for (let value = Math.ceil(low / step) * step; value <= high; value += step) {
    if (value !== bounds.exclusiveMinimum && value !== bounds.exclusiveMaximum) values.push(`${value + 0}`)
  }
  return values.length === 0 ? undefined : either(values.map(literal))
}

export function count(schema: Plain, keyword: string): number | undefined {
  const value = schema[keyword]
  if (value === undefined) return undefined
  if (typeof value !== 'number' || !Number.isInteger(value) || value < 0)
    refuse(`"${keyword}" is not a count`)
  return value
}

export function patternOf(schema: Plain): string | undefined {
  const { pattern, format } = schema
  if (format === undefined) {
    if (pattern !== undefined && typeof pattern !== 'string') refuse('"pattern" is not a text')
    return pattern
  }
  if (pattern !== undefined) refuse('"pattern" beside "format" is not supported')
  const known = typeof format === 'string' && Object.hasOwn(FORMATS, format) ? FORMATS[format] : undefined
  return (
    known ?? refuse(`the format ${JSON.stringify(format)} is not one of ${Object.keys(FORMATS).join(', ')}`)
  )
}

export function requiredOf(schema: Plain): ReadonlySet<string> {
  const { required = [] } = schema
  if (!Array.isArray(required) || required.some((name) => typeof name !== 'string')) {
    refuse('"required" is not a list of names')
  }
  return new Set(required)
}

export function isOf(kind: Kind, value: unknown): boolean {
  if (kind === 'null') return value === null
  if (kind === 'array') return Array.isArray(value)
  if (kind === 'integer') return Number.isInteger(value)
  return kind === 'object' ? isObject(value) : typeof value === kind
}
