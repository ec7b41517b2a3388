/** How a model writes what is not plain text: its reasoning, and the calls of tools. Found in its template. */

export interface Tags {
  readonly open: string
  readonly close: string
}

/**
 * How calls are written: `open before BODY after between before BODY after close`. Spaces and line ends in these texts
 * stand for any white space, or none.
 */
export interface CallSyntax {
  readonly open: string
  readonly close: string
  readonly before: string
  readonly after: string
  readonly between: string
  /**
   * `object`: JSON with the name and the arguments in it; `named`: the name, a separator and the arguments as JSON.
   * `id`: with nine letters and digits.
   */
  readonly body:
    | { readonly kind: 'object'; readonly arguments: 'arguments' | 'parameters'; readonly id: boolean }
    | { readonly kind: 'named'; readonly separator: string; readonly id: boolean }
  /** What may stand in front of them all. */
  readonly mark?: string
  /** No sign marks them: they are the whole answer, or there are none. */
  readonly isWhole: boolean
  /** One in an answer. */
  readonly isSingle: boolean
}

export interface Syntax {
  readonly reasoning: Tags | undefined
  /** Undefined: calls are described to the model in Shoal's own words. */
  readonly calls: CallSyntax | undefined
  /** OpenAI's "harmony": reasoning, calls and answer are messages in channels. */
  readonly isChanneled: boolean
}

/** How one answer is to be read. */
export interface AnswerSyntax {
  readonly reasoning: Tags | undefined
  /** The template has opened it already. */
  readonly isReasoning: boolean
  readonly calls: (CallSyntax & { readonly names: readonly string[] }) | undefined
  /** Signs of the vocabulary's own (but those that end an answer) have to be told as they are written. */
  readonly needsSpecials: boolean
  /** The names that may be called, where the answer comes in channels. */
  readonly channels?: { readonly names: readonly string[] }
  /** What is not a call is `{"response": ...}`: a JSON text, or any JSON. */
  readonly response?: 'text' | 'json' | undefined
}

const CALLS: CallSyntax = {
  ...{ open: '', close: '', before: '', after: '', between: '' },
  body: { kind: 'object', arguments: 'arguments', id: false },
  ...{ isWhole: false, isSingle: false }
}

function named(separator: string, id = false): CallSyntax['body'] {
  return { kind: 'named', separator, id }
}

/** For models that were not taught any. */
export const OWN_CALLS: CallSyntax = {
  ...CALLS,
  ...{ open: '{ "tool_calls" : [', between: ',', close: '] }', isWhole: true }
}
/** How a model is told to write one of them. */
export function callExample({ open, close, before, after, body }: CallSyntax): string {
  const given = '{"the parameter\'s name": "its value"}'
  const name = "the tool's name"
  const call =
    body.kind === 'named'
      ? `${name}${body.separator}${given}`
      : `{"name": "${name}", "${body.arguments}": ${given}}`
  return `${open}${before}${call}${after}${close}`
}
export const RESPONSE = '{ "response" :'

const REASONING: readonly Tags[] = [
  { open: '<think>', close: '</think>' },
  { open: '[THINK]', close: '[/THINK]' },
  { open: '<seed:think>', close: '</seed:think>' }
]

/** What of a template's text tells each, the more special first. */
const FAMILIES: readonly {
  readonly has: readonly string[]
  readonly lacks?: string
  readonly calls: CallSyntax
}[] = [
  {
    // DeepSeek R1 and V3
    has: ['<｜tool▁calls▁begin｜>', '```json'],
    calls: {
      ...CALLS,
      ...{ open: '<｜tool▁calls▁begin｜>', close: '<｜tool▁calls▁end｜>' },
      before: '<｜tool▁call▁begin｜>function<｜tool▁sep｜>',
      after: '\n```<｜tool▁call▁end｜>',
      between: '\n',
      body: named('\n```json\n')
    }
  },
  {
    // DeepSeek V3.1
    has: ['<｜tool▁calls▁begin｜>', '<｜tool▁sep｜>'],
    calls: {
      ...CALLS,
      ...{ open: '<｜tool▁calls▁begin｜>', close: '<｜tool▁calls▁end｜>' },
      ...{ before: '<｜tool▁call▁begin｜>', after: '<｜tool▁call▁end｜>' },
      body: named('<｜tool▁sep｜>')
    }
  },
  // Mistral Small 3.2, Magistral
  {
    has: ['[TOOL_CALLS]', '[CALL_ID]'],
    calls: { ...CALLS, before: '[TOOL_CALLS]', body: named('[ARGS]', true) }
  },
  // Devstral, Ministral 3
  { has: ['[TOOL_CALLS]', '[ARGS]'], calls: { ...CALLS, before: '[TOOL_CALLS]', body: named('[ARGS]') } },
  {
    // Mistral 7B v0.3, Nemo, Small 3.1
    has: ['[TOOL_CALLS]'],
    calls: {
      ...CALLS,
      ...{ open: '[TOOL_CALLS] [', between: ', ', close: ']' },
      body: { kind: 'object', arguments: 'arguments', id: true }
    }
  },
  // Hermes, Qwen 2.5 and 3, SmolLM3
  {
    has: ['<tool_call>', '</tool_call>', '"arguments"'],
    lacks: '<function=',
    calls: { ...CALLS, before: '<tool_call>\n', after: '\n</tool_call>', between: '\n' }
  },
  // Functionary 3.1
  {
    has: ['<function=', '</function>'],
    lacks: '<parameter',
    calls: { ...CALLS, before: '<function=', after: '</function>', body: named('>') }
  },
  // Llama 3.1 to 3.3
  {
    has: ['<|start_header_id|>', '"parameters"'],
    calls: {
      ...CALLS,
      body: { kind: 'object', arguments: 'parameters', id: false },
      mark: '<|python_tag|>',
      ...{ isWhole: true, isSingle: true }
    }
  }
]

export function syntaxOf(template: string): Syntax {
  // Templates quote in both ways, and escape what they quote.
  const text = template.replaceAll('\\"', '"').replaceAll("\\'", "'")
  const isChanneled = text.includes('<|channel|>') && text.includes('<|message|>')
  const reasoning = isChanneled ? undefined : REASONING.find(({ close }) => text.includes(close))
  const family = FAMILIES.find(
    ({ has, lacks }) =>
      has.every((part) => text.includes(part)) && !(lacks !== undefined && text.includes(lacks))
  )
  return { reasoning, calls: isChanneled ? undefined : family?.calls, isChanneled }
}

/** The words of such a text, between which white space does not matter. */
export function words(text: string): readonly string[] {
  return text.split(/\s+/).filter((word) => word !== '')
}
