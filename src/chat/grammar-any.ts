/** Rules for what no schema says anything about. */
import { Rules } from './gbnf.ts'
import { decimals } from './grammar-numbers.ts'

/** Of a value that no schema says anything about. */
export const ANY_DEPTH = 12
/** One character of a JSON string; 16-bit escapes may be half of a pair. */
const CHARACTER = '([^"\\x5c\\x00-\\x1f\\x7f] | "\\\\" (["\\x5c/bfnrt] | "u" [0-9a-fA-F]{4}))'
/** As llama.cpp has it: nothing, a space, or a line's end with its indentation. It can't go on for ever. */
const SPACE = '(" " | "\\n"{1,2} [ \\t]{0,20})?'

export function spaceRule(rules: Rules): string {
  return rules.add(SPACE)
}

/** A JSON string's rule. */
export function stringRule(rules: Rules): string {
  return rules.add(`"\\"" ${rules.add(CHARACTER)}* "\\""`)
}

/** An object with any properties. */
export function anyObjectRule(rules: Rules): string {
  return anyContainer(rules, 'object', ANY_DEPTH)
}

const anyRules = new Rules()
/** Any JSON object. */
export const jsonGrammar: string = ((root) => anyRules.text(root))(anyObjectRule(anyRules))

function anyContainer(rules: Rules, kind: 'object' | 'array', depth: number): string {
  const space = rules.add(SPACE)
  const value = anyValue(rules, depth - 1)
  const entry = kind === 'array' ? value : rules.add(`${stringRule(rules)} ${space} ":" ${space} ${value}`)
  const [open, close] = kind === 'array' ? ['"["', '"]"'] : ['"{"', '"}"']
  return rules.add(`${open} ${space} (${entry} (${space} "," ${space} ${entry})*)? ${space} ${close}`)
}

export function anyValue(rules: Rules, depth: number): string {
  const scalars = [stringRule(rules), rules.add(decimals({}) as string), '"true"', '"false"', '"null"']
  if (depth === 0) return rules.add(scalars.join(' | '))
  const containers = [anyContainer(rules, 'object', depth), anyContainer(rules, 'array', depth)]
  return rules.add([...containers, ...scalars].join(' | '))
}
