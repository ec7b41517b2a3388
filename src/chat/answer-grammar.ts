/** The GBNF of a whole answer: reasoning, then text or what the format asks for, or calls of the tools given. */
import type { Conversation, Format, Tool } from './contract.ts'
import { AnswerError } from './errors.ts'
import { either, literal, Rules, repeated, textWithout } from './gbnf.ts'
import { SchemaGrammar } from './grammar.ts'
import { anyObjectRule, spaceRule, stringRule } from './grammar-any.ts'
import { isObject } from './grammar-merge.ts'
import { type AnswerSyntax, type CallSyntax, RESPONSE, words } from './syntax.ts'

/** In one answer, so that a model that repeats itself comes to an end. */
const MAX_CALLS = 16
/** Somebody's own, in characters: stages take little more, and its rules get longer names. */
const MAX_GRAMMAR = 131_072
const NAME = /^[a-zA-Z0-9_.:-]{1,128}$/

/** Those that may be called. Throws an AnswerError INPUT where the choice is not among them. */
export function callable({ tools, toolChoice }: Conversation): readonly Tool[] {
  const bad = tools.find(({ name }) => !NAME.test(name))
  if (bad !== undefined) {
    const message = `The tool name ${JSON.stringify(bad.name)} is not made of letters, digits, "_", "-", "." and ":".`
    throw new AnswerError('INPUT', message, { field: 'tools' })
  }
  if (toolChoice === 'none') return []
  const chosen = typeof toolChoice === 'string' ? tools : tools.filter(({ name }) => name === toolChoice.name)
  if (toolChoice !== 'auto' && chosen.length === 0) {
    const message = 'The tool choice asks for a tool that is not among the tools.'
    throw new AnswerError('INPUT', message, { field: 'toolChoice' })
  }
  return chosen
}

/** Undefined: anything goes. Throws an AnswerError INPUT for schemas that are not supported. */
export function answerGrammar(
  syntax: AnswerSyntax,
  conversation: Conversation,
  format: Format
): string | undefined {
  const tools = callable(conversation)
  if (tools.length === 0 && format.kind === 'text') return undefined
  if (tools.length > 0 && format.kind === 'grammar') {
    throw new AnswerError('INPUT', 'A grammar and tools at once are not supported.', { field: 'format' })
  }
  const write = (isStrict: boolean): string =>
    new AnswerGrammar(syntax, conversation, tools, isStrict).text(format)
  try {
    return write(true)
  } catch (error) {
    // Many large tools together: their arguments are any objects then.
    if (!(error instanceof AnswerError) || tools.length === 0) throw error
    return write(false)
  }
}

class AnswerGrammar {
  readonly #rules = new Rules()
  readonly #space: string
  readonly #syntax: AnswerSyntax
  readonly #tools: readonly Tool[]
  readonly #isRequired: boolean
  readonly #isParallel: boolean
  readonly #isStrict: boolean

  constructor(
    syntax: AnswerSyntax,
    { toolChoice, parallelCalls }: Conversation,
    tools: readonly Tool[],
    isStrict: boolean
  ) {
    this.#space = spaceRule(this.#rules)
    this.#syntax = syntax
    this.#tools = tools
    this.#isRequired = toolChoice !== 'auto' && toolChoice !== 'none'
    this.#isParallel = parallelCalls
    this.#isStrict = isStrict
  }

  text(format: Format): string {
    const content = this.#content(format)
    const root = this.#syntax.channels === undefined ? this.#tagged(content) : this.#channeled(content)
    const grammar = this.#rules.text(root)
    if (format.kind !== 'grammar') return grammar
    if (format.grammar.length > MAX_GRAMMAR) {
      throw new AnswerError('INPUT', `The grammar has more than ${MAX_GRAMMAR} characters.`, {
        field: 'format'
      })
    }
    return `${grammar}${renamed(format.grammar)}`
  }

  /** Undefined: free text. */
  #content(format: Format): string | undefined {
    if (format.kind === 'text') return undefined
    if (format.kind === 'json') return anyObjectRule(this.#rules)
    return format.kind === 'grammar' ? 'answer' : new SchemaGrammar(this.#rules, format.schema).root()
  }

  #tagged(content: string | undefined): string {
    const { reasoning, isReasoning } = this.#syntax
    const main = this.#rules.add(either(this.#ways(content)))
    if (reasoning === undefined) return main
    const thought = `${textWithout(this.#rules, reasoning.close)} ${literal(reasoning.close)} ${this.#space}`
    return isReasoning ? `${thought} ${main}` : `(${literal(reasoning.open)} ${thought})? ${main}`
  }

  #ways(content: string | undefined): string[] {
    const { calls, response } = this.#syntax
    if (this.#tools.length === 0 || calls === undefined) return [content ?? this.#anything()]
    const written = this.#calls(calls)
    if (this.#isRequired) return [written]
    if (response !== undefined) {
      const value = content ?? stringRule(this.#rules)
      return [written, `${this.#words(RESPONSE)} ${this.#space} ${value} ${this.#space} "}"`]
    }
    if (content !== undefined) return [written, content]
    if (calls.isWhole) return [written, this.#unmarked()]
    const [sign = ''] = words(`${calls.open}${calls.before}`)
    return [`${textWithout(this.#rules, sign)} (${written})?`]
  }

  #anything(): string {
    return this.#rules.add('[^\\x00]*')
  }

  /** Text that is not taken for a call. */
  #unmarked(): string {
    return `([^{<\\x00-\\x20] ${this.#anything()} | "<" ([^|] ${this.#anything()})?)?`
  }

  #words(text: string): string {
    return words(text).map(literal).join(` ${this.#space} `)
  }

  /** With white space where the text has some. */
  #spaced(text: string): string[] {
    const parts = text.split(/\s+/).map((part) => (part === '' ? '' : literal(part)))
    return [parts.join(` ${this.#space} `).trim()].filter((part) => part !== '')
  }

  #calls(calls: CallSyntax): string {
    const bodies = this.#tools.map((tool) => this.#call(calls, tool))
    const one = this.#rules.add(
      [...this.#spaced(calls.before), either(bodies), ...this.#spaced(calls.after)].join(' ')
    )
    const isOne = calls.isSingle || !this.#isParallel
    const more = [...this.#spaced(calls.between), one].join(' ')
    const others = isOne ? [] : [repeated(this.#rules, more, 0, MAX_CALLS - 1)]
    return [...this.#spaced(calls.open), one, ...others, ...this.#spaced(calls.close)].join(' ')
  }

  #call({ body }: CallSyntax, tool: Tool): string {
    const given = this.#arguments(tool)
    const nine = '[a-zA-Z0-9]{9}'
    if (body.kind === 'named') {
      const id = body.id ? [literal('[CALL_ID]'), nine] : []
      return [literal(tool.name), ...id, ...this.#spaced(body.separator), given].join(' ')
    }
    const entry = (key: string, value: string): string[] => [literal(`"${key}"`), literal(':'), value]
    const comma = literal(',')
    const parts = [...entry('name', literal(`"${tool.name}"`)), comma, ...entry(body.arguments, given)]
    if (body.id) parts.push(comma, ...entry('id', `"\\"" ${nine} "\\""`))
    return [literal('{'), ...parts, literal('}')].join(` ${this.#space} `)
  }

  /** An object that follows the tool's schema; any, where that can't be promised. */
  #arguments({ parameters }: Tool): string {
    const schema = isObject(parameters) ? { type: 'object', ...parameters } : {}
    if (!this.#isStrict || !isSupported(schema)) return anyObjectRule(this.#rules)
    return new SchemaGrammar(this.#rules, schema).root()
  }

  #channeled(content: string | undefined): string {
    const rules = this.#rules
    const message = (channel: string): string => literal(`<|channel|>${channel}<|message|>`)
    const inside = textWithout(rules, '<|end|>')
    const next = literal('<|end|><|start|>assistant')
    const thought = rules.add(`(${message('analysis')} ${inside} ${next})?`)
    const final = `${message('final')} ${content ?? inside}`
    const calls = this.#tools.map((tool) => {
      const name = `to=functions.${tool.name}`
      const given = this.#arguments(tool)
      const ahead = `${literal(` ${name}<|channel|>commentary json<|message|>`)} ${given}`
      const behind = literal(`<|channel|>commentary ${name} `)
      return either([ahead, `${behind} ("<|constrain|>")? "json<|message|>" ${given}`])
    })
    if (this.#isRequired) return `${thought} ${either(calls)}`
    // A preamble is text, too, which a format does not allow for.
    const hasPreamble = calls.length > 0 && content === undefined
    const preamble = hasPreamble ? [rules.add(`(${message('commentary')} ${inside} ${next})?`)] : []
    return [thought, ...preamble, either([final, ...calls])].join(' ')
  }
}

function isSupported(schema: Readonly<Record<string, unknown>>): boolean {
  try {
    new SchemaGrammar(new Rules(), schema).root()
    return true
  } catch (error) {
    if (error instanceof AnswerError) return false
    throw error
  }
}

/** Somebody's grammar beside ours: its rules get names of their own, `root` that of the answer. */
function renamed(grammar: string): string {
  return grammar.replace(
    /"(?:\\.|[^"\\])*"|\[(?:\\.|[^\]\\])*\]|#.*|<[^>\n]*>|\\.|[a-zA-Z][a-zA-Z0-9-]*/g,
    (word) => (/^[a-zA-Z]/.test(word) ? (word === 'root' ? 'answer' : `answer-${word}`) : word)
  )
}
