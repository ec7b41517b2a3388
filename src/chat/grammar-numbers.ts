/** Numbers within bounds, as GBNF: their digits compared one by one. */
import { either } from './gbnf.ts'

/** More digits than a double keeps could round to a bound, or beyond it. */
const DIGITS = 15
/** Of what lies this near to an exclusive bound nothing is drawn. */
const NEAREST = 4

export interface Bounds {
  readonly minimum?: number | undefined
  readonly maximum?: number | undefined
  readonly exclusiveMinimum?: number | undefined
  readonly exclusiveMaximum?: number | undefined
}

/** A decimal: `units` of 10^-places. */
interface Bound {
  readonly units: bigint
  readonly places: number
  readonly exclusive: boolean
}

/** Undefined: there is none. */
export function integers(bounds: Bounds): string | undefined {
  return numbers(bounds, true)
}

export function decimals(bounds: Bounds): string | undefined {
  return numbers(bounds, false)
}

function numbers(bounds: Bounds, whole: boolean): string | undefined {
  const low = lower(bounds.minimum, bounds.exclusiveMinimum)
  const high = negative(lower(minus(bounds.maximum), minus(bounds.exclusiveMaximum)))
  if (low === undefined && high === undefined) return whole ? INTEGER : NUMBER
  const zero: Bound = { units: 0n, places: 0, exclusive: true }
  const ways: string[] = []
  const isPositive = low !== undefined && low.units >= 0n
  ways.push(...between(isPositive ? low : { ...zero, exclusive: false }, high, whole))
  const [from, to] = [negative(high), negative(low)]
  const below = between(from !== undefined && from.units >= 0n ? larger(from, zero) : zero, to, whole)
  if (below.length > 0) ways.push(`"-" ${either(below)}`)
  return ways.length === 0 ? undefined : either(ways)
}

const INTEGER = `("0" | "-"? [1-9] [0-9]{0,${DIGITS - 1}})`
const NUMBER = `("-"? ("0" | [1-9] [0-9]{0,${DIGITS - 1}}) ("." [0-9]{1,${DIGITS}})? ([eE] [-+]? [0-9]{1,2})?)`

function minus(value: number | undefined): number | undefined {
  return value === undefined ? undefined : -value
}

function negative(bound: Bound | undefined): Bound | undefined {
  return bound === undefined ? undefined : { ...bound, units: -bound.units }
}

/** The tighter of both. */
function lower(inclusive: number | undefined, exclusive: number | undefined): Bound | undefined {
  const first = inclusive === undefined ? undefined : boundOf(inclusive, false)
  const second = exclusive === undefined ? undefined : boundOf(exclusive, true)
  return first === undefined || second === undefined ? (first ?? second) : larger(first, second)
}

function larger(a: Bound, b: Bound): Bound {
  const places = Math.max(a.places, b.places)
  const [left, right] = [a.units * power(places - a.places), b.units * power(places - b.places)]
  if (left === right) return a.exclusive ? a : b
  return left > right ? a : b
}

function boundOf(value: number, exclusive: boolean): Bound {
  const [mantissa = '', exponent = '0'] = String(value).split('e')
  const [integer = '', fraction = ''] = mantissa.split('.')
  const places = fraction.length - Number(exponent)
  const units = BigInt(integer + fraction)
  return places < 0 ? { units: units * power(-places), places: 0, exclusive } : { units, places, exclusive }
}

function power(exponent: number): bigint {
  return 10n ** BigInt(exponent)
}

/** From `low`, at least 0, to `high`: with no digits after the point, with one, and so on. */
function between(low: Bound, high: Bound | undefined, whole: boolean): string[] {
  const given = Math.max(low.places, high?.places ?? 0)
  const isExclusive = low.exclusive || (high?.exclusive ?? false)
  const last = whole ? 0 : isExclusive ? Math.max(given, NEAREST) : given
  const ways: string[] = []
  for (let places = 0; places <= Math.min(last, DIGITS - 1); places++) {
    const from = scaled(low, places, 'up') + (low.exclusive && isExact(low, places) ? 1n : 0n)
    const to =
      high === undefined
        ? power(DIGITS) - 1n
        : scaled(high, places, 'down') - (high.exclusive && isExact(high, places) ? 1n : 0n)
    ways.push(...range(from, to, places))
    // Further digits make it larger by less than one unit.
    const inside = high?.exclusive === true && isExact(high, places) ? to : to - 1n
    if (!whole && places === last) ways.push(...range(from, inside, places, true))
  }
  return ways
}

function isExact({ units, places }: Bound, wanted: number): boolean {
  return wanted >= places || units % power(places - wanted) === 0n
}

function scaled({ units, places }: Bound, wanted: number, round: 'up' | 'down'): bigint {
  if (wanted >= places) return units * power(wanted - places)
  const divisor = power(places - wanted)
  const down = units / divisor - (units < 0n && units % divisor !== 0n ? 1n : 0n)
  return round === 'down' || units % divisor === 0n ? down : down + 1n
}

/** The numbers from..to, the last `places` digits of which are behind the point, for each length in digits. */
function range(from: bigint, to: bigint, places: number, goesOn = false): string[] {
  const ways: string[] = []
  for (let length = places + 1; length <= DIGITS; length++) {
    const least = length === places + 1 ? 0n : power(length - 1)
    const low = from > least ? from : least
    const high = to < power(length) - 1n ? to : power(length) - 1n
    if (low > high || (goesOn && length === DIGITS)) continue
    const more = goesOn ? `${places === 0 ? ' "."' : ''} [0-9]{1,${DIGITS - length}}` : ''
    ways.push(span(padded(low, length), padded(high, length), places) + more)
  }
  return ways
}

function padded(value: bigint, length: number): string {
  return value.toString().padStart(length, '0')
}

/** Digits from `low` to `high`, which are as long. */
function span(low: string, high: string, places: number): string {
  if (low === '') return ''
  const point = places > 0 && low.length === places ? '"." ' : ''
  const [first, last] = [Number(low[0]), Number(high[0])]
  if (/^0*$/.test(low) && /^9*$/.test(high)) return any(low.length, places)
  if (first === last) return `${point}[${first}] ${span(low.slice(1), high.slice(1), places)}`.trim()
  const rest = low.length - 1
  const ways: string[] = []
  const lowest = /^0*$/.test(low.slice(1)) ? first : first + 1
  const highest = /^9*$/.test(high.slice(1)) ? last : last - 1
  if (lowest > first) ways.push(`[${first}] ${span(low.slice(1), '9'.repeat(rest), places)}`)
  if (lowest <= highest) ways.push(`[${lowest}-${highest}] ${any(rest, places)}`.trim())
  if (highest < last) ways.push(`[${last}] ${span('0'.repeat(rest), high.slice(1), places)}`)
  return point + either(ways)
}

function any(length: number, places: number): string {
  if (length === 0) return ''
  const before = length - places
  if (places === 0 || before < 0) return `[0-9]{${length}}`
  return `${before > 0 ? `[0-9]{${before}} ` : ''}"." [0-9]{${places}}`
}
