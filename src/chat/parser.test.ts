// The texts are those of llama.cpp's tests/test-chat.cpp (MIT) where there are such.
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { answerGrammar } from './answer-grammar.ts'
import type { Conversation, Format } from './contract.ts'
import { AnswerParser, type Part } from './parser.ts'
import { type AnswerSyntax, OWN_CALLS, syntaxOf } from './syntax.ts'
import { Gbnf, seeded } from './testing.ts'

const NAMES = ['special_function', 'get_time', 'get_time_zone']
const THINK = { open: '<think>', close: '</think>' }
const PLAIN: AnswerSyntax = {
  reasoning: undefined,
  isReasoning: false,
  calls: undefined,
  needsSpecials: false
}
const HERMES = 'x<tool_call>{"name": "a", "arguments": {}}</tool_call>'
const MINISTRAL = '[THINK][/THINK][TOOL_CALLS]a[ARGS]'
const SMALL = '[TOOL_CALLS]a[CALL_ID]b[ARGS]'
const NEMO = '[TOOL_CALLS]'
const DEEPSEEK = '</think><｜tool▁calls▁begin｜><｜tool▁call▁begin｜>function<｜tool▁sep｜>a\n```json'
const DEEPSEEK_31 = '</think><｜tool▁calls▁begin｜><｜tool▁call▁begin｜>a<｜tool▁sep｜>'
const LLAMA = '<|start_header_id|>{"name": "a", "parameters": {}}'
const FUNCTIONARY = '<function=a>{}</function>'

function syntax(template: string, rest: Partial<AnswerSyntax> = {}): AnswerSyntax {
  const { reasoning, calls } = syntaxOf(template)
  if (calls === undefined) throw new Error('not detected')
  return { ...PLAIN, reasoning, calls: { ...calls, names: NAMES }, ...rest }
}

const OWN: AnswerSyntax = { ...PLAIN, calls: { ...OWN_CALLS, names: NAMES }, response: 'text' }
const CHANNELS: AnswerSyntax = { ...PLAIN, channels: { names: NAMES } }

/** What a client has at the end. */
interface Told {
  reasoning?: string
  text?: string
  calls?: { name: string; arguments: string }[]
  stopped?: string | undefined
}

function told(parts: readonly Part[], stopped?: string): Told {
  const all: Told = {}
  for (const part of parts) {
    if (part.type === 'reasoning' || part.type === 'text') all[part.type] = (all[part.type] ?? '') + part.text
    else if (part.type === 'call') {
      all.calls = [...(all.calls ?? []), { name: part.name, arguments: '' }]
      expect(part).toMatchObject({ index: all.calls.length - 1, id: 'id' })
    } else (all.calls?.[part.index] as { arguments: string }).arguments += part.text
  }
  return stopped === undefined ? all : { ...all, stopped }
}

function parse(how: AnswerSyntax, chunks: readonly string[], stop: readonly string[] = []): Told {
  const parser = new AnswerParser(how, { stop, newId: () => 'id' })
  const parts = [...chunks.flatMap((chunk) => parser.push(chunk)), ...parser.end()]
  return told(parts, parser.stopped)
}

/** The same however it is cut; `seed` draws the cuts. */
function parsed(how: AnswerSyntax, text: string, stop: readonly string[] = []): Told {
  const whole = parse(how, [text], stop)
  expect(parse(how, [...text], stop)).toEqual(whole)
  fc.assert(
    fc.property(fc.array(fc.nat(text.length), { maxLength: 8 }), (cuts) => {
      const at = [0, ...cuts.sort((a, b) => a - b), text.length]
      const chunks = at.slice(1).map((end, index) => text.slice(at[index], end))
      expect(parse(how, chunks, stop)).toEqual(whole)
    }),
    { seed: 1, numRuns: 30 }
  )
  return whole
}

const HELLO = "Hello, world!\nWhat's up?"
const ONE = { name: 'special_function', arguments: '{"arg1": 1}' }

describe('reasoning', () => {
  test.each<[string, AnswerSyntax, string, Told]>([
    [
      'before the text',
      syntax(MINISTRAL),
      `[THINK]I'm\nthinking[/THINK]${HELLO}`,
      { reasoning: "I'm\nthinking", text: HELLO }
    ],
    [
      'opened by the template',
      syntax(DEEPSEEK_31, { isReasoning: true }),
      'REASONING</think>\nCONTENT',
      { reasoning: 'REASONING', text: 'CONTENT' }
    ],
    ['that is empty', { ...PLAIN, reasoning: THINK }, '<think>\n\n</think>\n\nHi', { text: 'Hi' }],
    ['that is not there', { ...PLAIN, reasoning: THINK }, '  <thin air', { text: '  <thin air' }],
    [
      'that does not end',
      { ...PLAIN, reasoning: THINK },
      '<think>\nIt is </thi',
      { reasoning: 'It is </thi' }
    ],
    [
      'is at the beginning only',
      { ...PLAIN, reasoning: THINK },
      'Write <think>a</think>.',
      { text: 'Write <think>a</think>.' }
    ],
    [
      'has calls that are none',
      syntax(`${HERMES}</think>`),
      `<think>Or <tool_call>{"name"</think>${HELLO}`,
      { reasoning: 'Or <tool_call>{"name"', text: HELLO }
    ]
  ])('%s', (_, how, text, expected) => {
    expect(parsed(how, text)).toEqual(expected)
  })
})

describe('calls', () => {
  const json = '{"name": "special_function", "arguments": {"arg1": 1}}'
  const two = [ONE, { name: 'get_time', arguments: '{"city": "a}\\"]"}' }]
  test.each<[string, AnswerSyntax, string, Told]>([
    ['Hermes', syntax(HERMES), `<tool_call>\n${json}</tool_call>`, { calls: [ONE] }],
    [
      'Hermes after text',
      syntax(HERMES),
      `${HELLO}\n<tool_call>\n${json}\n</tool_call>\n`,
      { text: HELLO, calls: [ONE] }
    ],
    [
      'Hermes, two',
      syntax(HERMES),
      `<tool_call>\n${json}\n</tool_call>\n<tool_call>\n{"arguments": {"city": "a}\\"]"}, "name": "get_time"}\n</tool_call>`,
      { calls: two }
    ],
    [
      'Hermes, no arguments',
      syntax(HERMES),
      '<tool_call>{"name": "get_time"}</tool_call>',
      { calls: [{ name: 'get_time', arguments: '{}' }] }
    ],
    [
      'Hermes, cut short',
      syntax(HERMES),
      '<tool_call>\n{"name": "special_function", "arguments": {"arg1"',
      { calls: [{ name: 'special_function', arguments: '{"arg1"' }] }
    ],
    [
      'Ministral',
      syntax(MINISTRAL),
      '[THINK]I\'m\nthinking[/THINK][TOOL_CALLS]special_function[ARGS]{"arg1": 1}',
      { reasoning: "I'm\nthinking", calls: [ONE] }
    ],
    [
      'Ministral, two',
      syntax(MINISTRAL),
      '[TOOL_CALLS]special_function[ARGS]{"arg1": 1}[TOOL_CALLS]get_time[ARGS]{"city": "a}\\"]"}',
      { calls: two }
    ],
    [
      'Mistral Small',
      syntax(SMALL),
      '[TOOL_CALLS]special_function[CALL_ID]123456789[ARGS]{"arg1": 1}',
      { calls: [ONE] }
    ],
    [
      'Nemo',
      syntax(NEMO),
      `${HELLO}[TOOL_CALLS][{"name": "special_function", "arguments": {"arg1": 1}, "id": "123456789"}]`,
      { text: HELLO, calls: [ONE] }
    ],
    [
      'Nemo, two',
      syntax(NEMO),
      '[TOOL_CALLS][{"name": "special_function", "arguments": {"arg1": 1}, "id": "123456789"}, {"name": "get_time", "arguments": {"city": "a}\\"]"}}]',
      { calls: two }
    ],
    [
      'DeepSeek R1',
      syntax(DEEPSEEK),
      '<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>function<｜tool▁sep｜>special_function\n```json\n{"arg1": 1}\n```<｜tool▁call▁end｜><｜tool▁calls▁end｜>',
      { calls: [ONE] }
    ],
    [
      'DeepSeek V3.1, two',
      syntax(DEEPSEEK_31, { isReasoning: true }),
      'REASONING</think>CONTENT<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>get_time<｜tool▁sep｜>{"city": "Paris"}<｜tool▁call▁end｜><｜tool▁call▁begin｜>get_time_zone<｜tool▁sep｜>{"city": "Paris"}<｜tool▁call▁end｜><｜tool▁calls▁end｜>',
      {
        reasoning: 'REASONING',
        text: 'CONTENT',
        calls: [
          { name: 'get_time', arguments: '{"city": "Paris"}' },
          { name: 'get_time_zone', arguments: '{"city": "Paris"}' }
        ]
      }
    ],
    ['Llama', syntax(LLAMA), '{"name": "special_function", "parameters": {"arg1": 1}}', { calls: [ONE] }],
    [
      'Llama with its tag',
      syntax(LLAMA),
      '<|python_tag|>{"name": "special_function", "parameters": {"arg1": 1}}',
      { calls: [ONE] }
    ],
    [
      'Functionary',
      syntax(FUNCTIONARY),
      '<function=special_function>{"arg1": 1}</function>',
      { calls: [ONE] }
    ],
    [
      'our own',
      OWN,
      '{"tool_calls": [{"name": "special_function", "arguments": {"arg1": 1}}]}',
      { calls: [ONE] }
    ],
    [
      'our own, two',
      OWN,
      '{ "tool_calls" : [ {"name": "special_function", "arguments": {"arg1": 1}},\n{"name": "get_time", "arguments": {"city": "a}\\"]"}} ] }',
      { calls: two }
    ],
    ['our own text', OWN, '{"response": "Hé \\"x\\"\\n\\ud83d\\udc20 \\u00e9"}', { text: 'Hé "x"\n🐠 é' }],
    [
      'our own, a value',
      { ...OWN, response: 'json' },
      '{"response": {"a": [1, "}"]}}',
      { text: '{"a": [1, "}"]}' }
    ],
    ['our own, a number', { ...OWN, response: 'json' }, '{"response": 12.5 }', { text: '12.5' }]
  ])('%s', (_, how, text, expected) => {
    expect(parsed(how, text)).toEqual(expected)
  })

  test.each<[string, AnswerSyntax, string]>([
    ['a tag only', syntax(HERMES), 'Use <tool_call> for it.'],
    ['not JSON', syntax(HERMES), '<tool_call>\nspecial_function(1)\n</tool_call>'],
    ['an unknown name', syntax(HERMES), '<tool_call>{"name": "rm", "arguments": {}}</tool_call>'],
    ['an unknown name in front', syntax(MINISTRAL), '[TOOL_CALLS]rm[ARGS]{}'],
    ['no name at all', syntax(HERMES), `<tool_call>{"x": "${'y'.repeat(5_000)}`],
    ['other JSON', syntax(LLAMA), '{"name": "Ann", "age": 3}'],
    ['other JSON of ours', OWN, '{"answer": 42}'],
    ['no JSON of ours', OWN, 'Hello'],
    ['no tools', PLAIN, '<tool_call>{"name": "get_time", "arguments": {}}</tool_call>']
  ])('that are none stay text: %s', (_, how, text) => {
    expect(parsed(how, text)).toEqual({ text })
  })

  test.each<[string, AnswerSyntax, string, Told]>([
    ['before its name', syntax(HERMES), `${HELLO}\n<tool_call>\n{"na`, { text: HELLO }],
    [
      'behind another',
      syntax(HERMES),
      `<tool_call>${json}</tool_call>\n<tool_call>{"name": "get`,
      { calls: [ONE] }
    ],
    ['as the whole answer', syntax(LLAMA), '{"name": "get_ti', {}],
    [
      'of ours',
      OWN,
      '{"tool_calls": [{"name": "special_function", "arguments": {"arg1": 1}}, {"na',
      { calls: [ONE] }
    ],
    ['as an answer of ours', OWN, '{"respon', {}],
    ['within a sign', syntax(HERMES), 'a <tool_', { text: 'a <tool_' }]
  ])('cut short %s, nothing of them is shown', (_, how, text, expected) => {
    expect(parsed(how, text)).toEqual(expected)
  })

  test('arguments come while they are written', () => {
    const parser = new AnswerParser(syntax(HERMES), { stop: [], newId: () => 'a' })
    expect(parser.push('<tool_call>{"name": "get_time", "argu')).toEqual([])
    expect(parser.push('ments": {"city": "Par')).toEqual([
      { type: 'call', index: 0, id: 'a', name: 'get_time' },
      { type: 'arguments', index: 0, text: '{"city": "Par' }
    ])
    expect(parser.push('is"}')).toEqual([{ type: 'arguments', index: 0, text: 'is"}' }])
    expect(parser.calls).toBe(1)
  })
})

describe('channels', () => {
  const final = `<|channel|>final<|message|>${HELLO}`
  const thinking = "<|channel|>analysis<|message|>I'm\nthinking"
  test.each<[string, string, Told]>([
    ['an answer', final, { text: HELLO }],
    ['a preamble', `<|channel|>commentary<|message|>${HELLO}`, { text: HELLO }],
    [
      'reasoning',
      `${thinking}<|end|><|start|>assistant${final}`,
      { reasoning: "I'm\nthinking", text: HELLO }
    ],
    ['reasoning only', thinking, { reasoning: "I'm\nthinking" }],
    [
      'a call by its role',
      ' to=functions.special_function<|channel|>analysis<|message|>{"arg1": 1}',
      { calls: [ONE] }
    ],
    [
      'a call by its channel',
      '<|channel|>analysis to=functions.special_function<|message|>{"arg1": 1}',
      { calls: [ONE] }
    ],
    [
      'a call with a constraint',
      ' to=functions.special_function<|channel|>analysis <|constrain|>json<|message|>{"arg1": 1}',
      { calls: [ONE] }
    ],
    [
      'a call after reasoning',
      `${thinking}<|end|><|start|>assistant to=functions.special_function<|channel|>analysis<|message|>{"arg1": 1}<|call|>`,
      { reasoning: "I'm\nthinking", calls: [ONE] }
    ],
    ['a call of nobody', '<|channel|>commentary to=browser.open<|message|>{}', { text: '{}' }],
    ['half a head', `${thinking}<|end|><|start|>assistant<|chan`, { reasoning: "I'm\nthinking" }],
    ['no channels', HELLO, { text: HELLO }],
    ['a head without end', `<|channel|>${'x'.repeat(600)}`, { text: `<|channel|>${'x'.repeat(600)}` }]
  ])('%s', (_, text, expected) => {
    expect(parsed(CHANNELS, text)).toEqual(expected)
  })
})

describe('stop strings', () => {
  test.each<[string, string, string[], Told]>([
    ['end the text', 'one two three', ['two'], { text: 'one ', stopped: 'two' }],
    ['the first one wins', 'a b c', ['c', 'b'], { text: 'a ', stopped: 'b' }],
    ['the one that begins first', 'xabcd', ['bc', 'abcd'], { text: 'x', stopped: 'abcd' }],
    ['the shorter of two', 'xabcd', ['abcd', 'ab'], { text: 'x', stopped: 'ab' }],
    [
      'the later one, where the first is not completed',
      'xabce',
      ['bc', 'abcd'],
      { text: 'xa', stopped: 'bc' }
    ],
    ['what only began is text', 'The en', ['end'], { text: 'The en' }],
    [
      'not in reasoning',
      '<think>stop</think>go stop',
      ['stop'],
      { reasoning: 'stop', text: 'go ', stopped: 'stop' }
    ],
    ['empty ones do nothing', 'abc', [''], { text: 'abc' }]
  ])('%s', (_, text, stop, expected) => {
    expect(parsed({ ...PLAIN, reasoning: THINK }, text, stop)).toEqual(expected)
  })

  test('not in calls', () => {
    const text = 'Well <tool_call>{"name": "get_time", "arguments": {"a": "stop"}}</tool_call>'
    expect(parsed(syntax(HERMES), text, ['stop', 'Well!'])).toEqual({
      text: 'Well',
      calls: [{ name: 'get_time', arguments: '{"a": "stop"}' }]
    })
  })
})

test('any text, cut anywhere, is the same', () => {
  const words = [
    '<think>',
    '</think>',
    '<tool_call>',
    '</tool_call>',
    '{"name": "get_time", "arguments": {',
    '}',
    '"',
    '\\',
    '[TOOL_CALLS]',
    '[ARGS]',
    'get_time',
    '{',
    '{"response": "',
    '<|channel|>',
    'analysis',
    'final',
    '<|message|>',
    '<|end|>',
    '<|start|>',
    ' to=functions.get_time',
    ' ',
    '\n',
    'x',
    '\\n',
    '<',
    '🐠'
  ]
  const hows = [
    syntax(`${HERMES}</think>`),
    syntax(MINISTRAL),
    syntax(NEMO),
    syntax(LLAMA),
    syntax(DEEPSEEK),
    OWN,
    { ...OWN, response: 'json' as const },
    CHANNELS
  ]
  fc.assert(
    fc.property(
      fc.array(fc.constantFrom(...words), { maxLength: 14 }),
      fc.constantFrom(...hows),
      fc.array(fc.nat(200), { maxLength: 6 }),
      (picked, how, cuts) => {
        const text = picked.join('')
        const at = [0, ...cuts.filter((cut) => cut < text.length).sort((a, b) => a - b), text.length]
        const chunks = at.slice(1).map((end, index) => text.slice(at[index], end))
        expect(parse(how, chunks, ['x<', '\nx'])).toEqual(parse(how, [text], ['x<', '\nx']))
      }
    ),
    { seed: 3, numRuns: 3_000 }
  )
})

describe('what a grammar lets through', () => {
  const parameters = {
    type: 'object',
    properties: { city: { type: 'string', maxLength: 9 } },
    required: ['city'],
    additionalProperties: false
  }
  const tools = NAMES.map((name) => ({ name, parameters }))
  const conversation: Conversation = {
    kind: 'conversation',
    messages: [],
    tools,
    toolChoice: 'auto',
    parallelCalls: true
  }
  const free: Format = { kind: 'text' }
  const families: [string, AnswerSyntax][] = [
    ['Hermes', syntax(`${HERMES}</think>`)],
    ['Ministral', syntax(MINISTRAL, { isReasoning: true })],
    ['Mistral Small', syntax(SMALL)],
    ['Nemo', syntax(NEMO)],
    ['DeepSeek R1', syntax(DEEPSEEK)],
    ['DeepSeek V3.1', syntax(DEEPSEEK_31)],
    ['Llama', syntax(LLAMA)],
    ['Functionary', syntax(FUNCTIONARY)],
    ['ours', OWN],
    ['channels', CHANNELS]
  ]

  test.each(families)('%s: is read as calls with arguments that follow the schema', (_, how) => {
    for (const toolChoice of ['required', { name: 'get_time' }] as const) {
      const grammar = new Gbnf(answerGrammar(how, { ...conversation, toolChoice }, free) as string)
      for (let seed = 0; seed < 60; seed++) {
        const text = grammar.sample(seeded(seed))
        const { calls = [], text: rest = '' } = parse(how, [text])
        expect(rest, text).toBe('')
        expect(calls.length, text).toBeGreaterThan(0)
        for (const call of calls) {
          expect(JSON.parse(call.arguments)).toEqual({ city: expect.any(String) })
          if (toolChoice !== 'required') expect(call.name).toBe('get_time')
        }
      }
    }
  })

  test.each(families)('%s: of its own choice, calls or text', (_, how) => {
    const grammar = new Gbnf(answerGrammar(how, { ...conversation, parallelCalls: false }, free) as string)
    for (let seed = 0; seed < 100; seed++) {
      const { calls = [] } = parse(how, [grammar.sample(seeded(seed))])
      expect(calls.length).toBeLessThanOrEqual(1)
      for (const call of calls) expect(JSON.parse(call.arguments)).toEqual({ city: expect.any(String) })
    }
  })

  test.each(families)('%s: a schema holds beside reasoning and calls', (_, how) => {
    const format: Format = { kind: 'schema', schema: { enum: ['yes', 'no'] } }
    const json = how.response === undefined ? how : { ...how, response: 'json' as const }
    const grammar = new Gbnf(answerGrammar(json, conversation, format) as string)
    let texts = 0
    for (let seed = 0; seed < 100; seed++) {
      const { text, calls } = parse(json, [grammar.sample(seeded(seed))])
      if (calls === undefined) expect(['"yes"', '"no"']).toContain(text)
      texts += text === undefined ? 0 : 1
    }
    expect(texts).toBeGreaterThan(0)
  })

  test('a grammar of somebody, after reasoning', () => {
    const format: Format = { kind: 'grammar', grammar: 'root ::= word " root" # root\nword ::= "a" | [r]' }
    const how = { ...PLAIN, reasoning: THINK, isReasoning: true }
    const grammar = new Gbnf(
      (answerGrammar(how, { ...conversation, tools: [] }, format) as string).replace(/ # root/, '')
    )
    for (let seed = 0; seed < 20; seed++) {
      expect(['a root', 'r root']).toContain(parse(how, [grammar.sample(seeded(seed))]).text)
    }
  })

  test('nothing is asked for, nothing is held', () => {
    expect(answerGrammar(PLAIN, { ...conversation, tools: [] }, free)).toBeUndefined()
    expect(answerGrammar(PLAIN, { ...conversation, toolChoice: 'none' }, free)).toBeUndefined()
  })

  test.each<[string, Partial<Conversation>, Format, string]>([
    ['a tool that is not there', { toolChoice: { name: 'rm' } }, free, 'toolChoice'],
    ['a call without tools', { tools: [], toolChoice: 'required' }, free, 'toolChoice'],
    ['a name that is none', { tools: [{ name: 'a"b', parameters: {} }] }, free, 'tools'],
    ['a grammar and tools', {}, { kind: 'grammar', grammar: 'root ::= "a"' }, 'format']
  ])('%s is refused', (_, changes, format, field) => {
    const refused = expect.objectContaining({ code: 'INPUT', data: { field } })
    expect(() => answerGrammar(OWN, { ...conversation, ...changes }, format)).toThrow(refused)
  })

  test('a tool whose schema can not be promised takes any object', () => {
    const odd = [{ name: 'get_time', parameters: { not: {} } }]
    const grammar = new Gbnf(
      answerGrammar(OWN, { ...conversation, tools: odd, toolChoice: 'required' }, free) as string
    )
    for (let seed = 0; seed < 20; seed++) {
      const [call] = parse(OWN, [grammar.sample(seeded(seed))]).calls ?? []
      expect(JSON.parse(call?.arguments ?? '')).toBeTypeOf('object')
    }
  })
})
