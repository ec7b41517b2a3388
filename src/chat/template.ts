/**
 * Conversations as the text that a model was taught, by the Jinja template in its files. What a template lacks is made
 * up for in words: system messages, tools, calls and their results.
 */
import { ShoalError } from '../common/index.ts'
import { answerGrammar, callable } from './answer-grammar.ts'
import type { Conversation, Format, ReasoningEffort, Tool } from './contract.ts'
import { AnswerError } from './errors.ts'
import { JinjaError } from './jinja.ts'
import { type AnswerSyntax, type CallSyntax, callExample, OWN_CALLS, type Syntax } from './syntax.ts'
import { Messages, regular } from './template-messages.ts'
import { TemplateStyle, type Variables } from './template-style.ts'

export interface Rendered {
  readonly text: string
  /** GBNF that the answer follows from its first token on, reasoning and free text included; absent: free text. */
  readonly grammar?: string | undefined
  readonly syntax: AnswerSyntax
}

/** For models without a template: what is said, line by line. */
const BARE = "{% for m in messages %}{% if not loop.first %}{{ '\\n' }}{% endif %}{{ m.content }}{% endfor %}"

export class ChatTemplate {
  readonly #style: TemplateStyle
  readonly #toolStyle: TemplateStyle

  /**
   * `template` and `toolUse` are the GGUF's `tokenizer.chat_template` and `tokenizer.chat_template.tool_use`, if there
   * are such. Throws a ShoalError TEMPLATE where one does not parse, or renders nothing.
   */
  constructor(
    source: { readonly template?: string | undefined; readonly toolUse?: string | undefined },
    specials: { readonly begin: string; readonly end: string },
    now: () => Date = () => new Date()
  ) {
    const { toolUse, template = toolUse ?? BARE } = source
    this.#style = templated(() => new TemplateStyle(template, specials, now))
    this.#toolStyle =
      toolUse === undefined ? this.#style : templated(() => new TemplateStyle(toolUse, specials, now))
  }

  /** Of answers where there are tools. */
  get syntax(): Syntax {
    return this.#toolStyle.syntax
  }

  /**
   * Throws an AnswerError INPUT where the conversation or the format can't be, a ShoalError TEMPLATE where the template
   * goes beyond its bounds.
   */
  render(conversation: Conversation, format: Format): Rendered {
    const style = conversation.tools.length > 0 ? this.#toolStyle : this.#style
    const isNative = style.calls !== undefined && isKnown(style.syntax)
    try {
      return rendered(style, conversation, format, isNative)
    } catch (error) {
      // Some templates stumble over tools, or arguments of calls, that others take.
      const isRefused = error instanceof AnswerError && error.data.field === 'messages'
      if (!isRefused || !isNative) throw error
      return rendered(style, conversation, format, false)
    }
  }
}

/** `isNative`: tools and calls are the template's matter, not Shoal's own. */
function rendered(
  style: TemplateStyle,
  conversation: Conversation,
  format: Format,
  isNative: boolean
): Rendered {
  const active = callable(conversation)
  const isShown = isNative && style.hasTools
  const tools = isShown && conversation.tools.length > 0 ? conversation.tools.map(toolVariable) : undefined
  const own = isNative ? style.syntax.calls : undefined
  const described = isShown || active.length === 0 ? [] : [description(conversation, active, own)]
  const messages = new Messages(style, isNative).of(conversation.messages, described)
  const variables = { messages, tools, ...reasoningVariables(conversation.reasoning) }
  const whole = templated(() => rendering(style, variables))
  const { text, isReasoning } = begunReasoning(whole, style.syntax, conversation.reasoning)
  const names = active.map(({ name }) => name)
  const syntax = answerSyntax({ style, isNative, isReasoning, names, conversation, format })
  return { text, syntax, grammar: answerGrammar(syntax, conversation, format) }
}

function isKnown({ calls, isChanneled }: Syntax): boolean {
  return isChanneled || calls !== undefined
}

function templated<T>(use: () => T): T {
  try {
    return use()
  } catch (cause) {
    if (!(cause instanceof JinjaError)) throw cause
    const message = `The model's chat template cannot be used: ${cause.message}`
    throw new ShoalError('TEMPLATE', message, { cause })
  }
}

/** As it is; else with the order that strict templates want. */
function rendering(style: TemplateStyle, variables: Variables): string {
  try {
    return style.render(variables)
  } catch (error) {
    if (!(error instanceof JinjaError) || !error.isRefusal) throw error
    try {
      return style.render({ ...variables, messages: regular(variables.messages) })
    } catch (again) {
      if (!(again instanceof JinjaError) || !again.isRefusal) throw again
      const message = `The model's chat template refuses these messages: ${error.message}`
      throw new AnswerError('INPUT', message, { field: 'messages' }, { cause: error })
    }
  }
}

/** As OpenAI writes them, which templates expect. */
function toolVariable({ name, description = '', parameters }: Tool): unknown {
  return { type: 'function', function: { name, description, parameters } }
}

function reasoningVariables(effort: ReasoningEffort | undefined): Record<string, unknown> {
  if (effort === undefined) return {}
  const isOn = effort !== 'none'
  const known = effort === 'none' || effort === 'minimal' ? 'low' : effort
  return { enable_thinking: isOn, thinking: isOn, reasoning_effort: known }
}

/** Whether the answer begins inside of it. Closes it where none is wanted. */
function begunReasoning(
  text: string,
  { reasoning }: Syntax,
  effort: ReasoningEffort | undefined
): { text: string; isReasoning: boolean } {
  const isReasoning = reasoning !== undefined && text.trimEnd().endsWith(reasoning.open)
  if (!isReasoning || effort !== 'none') return { text, isReasoning }
  return { text: `${text.trimEnd()}\n\n${reasoning.close}\n\n`, isReasoning: false }
}

function answerSyntax(of: {
  readonly style: TemplateStyle
  readonly isNative: boolean
  readonly isReasoning: boolean
  readonly names: readonly string[]
  readonly conversation: Conversation
  readonly format: Format
}): AnswerSyntax {
  const { style, isNative, isReasoning, names, conversation, format } = of
  const { reasoning, isChanneled, calls: native = OWN_CALLS } = style.syntax
  if (isChanneled) {
    const channels = { names }
    return { reasoning: undefined, isReasoning: false, calls: undefined, channels, needsSpecials: true }
  }
  const calls = names.length > 0 ? { ...(isNative ? native : OWN_CALLS), names } : undefined
  const isOwn = calls !== undefined && !isNative && conversation.toolChoice === 'auto'
  return {
    ...{ reasoning, isReasoning, calls },
    needsSpecials: reasoning !== undefined || (calls !== undefined && isNative),
    response: isOwn ? (format.kind === 'text' ? 'text' : 'json') : undefined
  }
}

const OWN_EXAMPLE = `{"tool_calls": [{"name": "the tool's name", "arguments": {"the parameter's name": "its value"}}]}`
const OWN_RESPONSE = '{"response": "what you have to say"}'

/** Tools for models that were not taught to use them. */
function description(
  { toolChoice, parallelCalls }: Conversation,
  tools: readonly Tool[],
  native: CallSyntax | undefined
): string {
  const list = tools.map((tool) => JSON.stringify(tool)).join('\n')
  const several = parallelCalls ? 'one or more tools' : 'one tool'
  const example = native === undefined ? OWN_EXAMPLE : callExample(native)
  const call = `To call ${several}, answer with nothing but this:\n${example}`
  const answer = `To answer without a tool, answer with nothing but this:\n${OWN_RESPONSE}`
  const ways = toolChoice === 'auto' && native === undefined ? `${call}\n${answer}` : call
  return `You can call tools to do what the user asks for. These are the tools, with the JSON Schema of their arguments:
${list}

${ways}`
}
