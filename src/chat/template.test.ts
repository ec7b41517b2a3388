import { readFileSync } from 'node:fs'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { ShoalError } from '../common/index.ts'
import { openModel } from '../models/index.ts'
import type { Conversation, Format, Message, Tool } from './contract.ts'
import { AnswerError } from './errors.ts'
import llamaCpp from './fixtures/llama-cpp.json' with { type: 'json' }
import renderings from './fixtures/renderings.json' with { type: 'json' }
import { AnswerParser } from './parser.ts'
import { ChatTemplate } from './template.ts'
import { Gbnf, seeded } from './testing.ts'

const FREE: Format = { kind: 'text' }
const SPECIALS = { begin: '<s>', end: '</s>' }
const NOW = (): Date => new Date(2025, 2, 9, 14, 5, 6)
const HI: Message = { role: 'user', text: 'Hello' }
const TIME: Tool = {
  name: 'get_time',
  description: 'The time.',
  parameters: { type: 'object', properties: { city: { type: 'string', maxLength: 9 } }, required: ['city'] }
}

function conversation(rest: Partial<Conversation> = {}): Conversation {
  const given = { messages: [HI], tools: [], toolChoice: 'auto', parallelCalls: true } as const
  return { kind: 'conversation', ...given, ...rest }
}

function fixture(name: string): string {
  return readFileSync(new URL(`fixtures/${name}.jinja`, import.meta.url), 'utf8')
}

function template(name: string): ChatTemplate {
  return new ChatTemplate({ template: fixture(name) }, SPECIALS, NOW)
}

function made(source: string): ChatTemplate {
  return new ChatTemplate({ template: source }, SPECIALS, NOW)
}

interface OpenAiMessage {
  readonly role: string
  readonly content: string
  readonly tool_call_id?: string
  readonly tool_calls?: readonly {
    readonly id: string
    readonly function: { readonly name: string; readonly arguments: unknown }
  }[]
}

function message({ role, content, tool_call_id: call = '', tool_calls }: OpenAiMessage): Message {
  if (role === 'tool') return { role, call, text: content }
  if (role !== 'assistant') return { role: role as 'user', text: content }
  const calls = tool_calls?.map(({ id, function: { name, arguments: given } }) => ({
    id,
    name,
    arguments: JSON.stringify(given)
  }))
  return { role, text: content, calls }
}

const conversations = renderings.conversations as unknown as Record<
  string,
  { messages: OpenAiMessage[]; tools: { function: Tool }[]; variables: { enable_thinking?: boolean } }
>

describe('renders as Python does', () => {
  test.each(renderings.renderings)(
    '$template: $conversation',
    ({ template: name, conversation: key, text }) => {
      const { messages, tools, variables } = conversations[key] as (typeof conversations)[string]
      const reasoning =
        variables.enable_thinking === undefined ? undefined : variables.enable_thinking ? 'high' : 'none'
      const input = {
        messages: messages.map(message),
        tools: tools.map((tool) => tool.function),
        reasoning
      } as const
      expect(template(name).render(conversation(input), FREE).text).toBe(text)
    }
  )
})

describe('renders as llama.cpp does', () => {
  test.each(llamaCpp)('$name', ({ template: source, text, begin, end }) => {
    const messages: Message[] = [
      { role: 'system', text: 'You are a helpful assistant' },
      HI,
      { role: 'assistant', text: 'Hi there' },
      { role: 'user', text: 'Who are you' },
      { role: 'assistant', text: '   I am an assistant   ' },
      { role: 'user', text: 'Another question' }
    ]
    expect(
      new ChatTemplate({ template: source }, { begin, end }).render(conversation({ messages }), FREE).text
    ).toBe(text)
  })
})

const CALLED: Message[] = [
  HI,
  {
    role: 'assistant',
    text: '',
    calls: [
      { id: 'call_1', name: 'get_time', arguments: '{"city":"Rio"}' },
      { id: 'call_2', name: 'get_time', arguments: '{"city":"Ulm"}' }
    ]
  },
  { role: 'tool', call: 'call_2', text: 'half past ten' },
  { role: 'tool', call: 'call_1', text: 'noon' }
]
const EVERYTHING: Message[] = [
  { role: 'system', text: 'Be kind.' },
  ...CALLED,
  { role: 'assistant', text: 'It is noon.', reasoning: 'Hm.' },
  { role: 'user', text: 'Thanks' }
]
const ALL = [...new Set(renderings.renderings.map(({ template: name }) => name))]

describe('whatever the template lacks', () => {
  test.each(ALL)('%s has all that was said, tools and calls included', (name) => {
    const { text } = template(name).render(conversation({ messages: EVERYTHING, tools: [TIME] }), FREE)
    for (const said of [
      'Be kind.',
      'Hello',
      'get_time',
      'Rio',
      'Ulm',
      'noon',
      'half past ten',
      'It is noon.',
      'Thanks'
    ]) {
      expect(text).toContain(said)
    }
  })

  test.each(ALL)('%s: an answer by its grammar is a call', (name) => {
    const rendered = template(name).render(conversation({ tools: [TIME], toolChoice: 'required' }), FREE)
    const grammar = new Gbnf(rendered.grammar ?? '')
    for (let seed = 0; seed < 30; seed++) {
      const parser = new AnswerParser(rendered.syntax, { stop: [], newId: () => 'a' })
      const parts = [...parser.push(grammar.sample(seeded(seed))), ...parser.end()]
      expect(parser.calls).toBeGreaterThan(0)
      expect(parts.some(({ type }) => type === 'text')).toBe(false)
    }
  })

  test('the demo model has system messages, tools, calls and results', async () => {
    const model = await openModel('models/demo.gguf')
    const source = model.gguf.metadata.get('tokenizer.chat_template')?.value as string
    await model.close()
    const demo = new ChatTemplate({ template: source }, { begin: '', end: '<|end|>' })
    expect(demo.render(conversation({ messages: [{ role: 'system', text: 'Be kind.' }, HI] }), FREE)).toEqual(
      {
        text: '<|user|>Be kind.\nHello<|assistant|>',
        syntax: {
          reasoning: undefined,
          isReasoning: false,
          calls: undefined,
          needsSpecials: false,
          response: undefined
        },
        grammar: undefined
      }
    )
    const { text, syntax } = demo.render(conversation({ messages: EVERYTHING, tools: [TIME] }), FREE)
    expect(text).toMatch(
      /^<\|user\|>Be kind\.\n\nYou can call tools .*"get_time".*\{"response": .*\nHello<\|assistant\|>\{"tool_calls"/s
    )
    expect(text).toContain('{"tool_response":{"name":"get_time","content":"noon"}}')
    expect(syntax).toMatchObject({ response: 'text', needsSpecials: false, calls: { names: ['get_time'] } })
  })

  test('without a template the text is what was said', () => {
    const bare = new ChatTemplate({}, SPECIALS)
    expect(bare.render(conversation({ messages: [{ role: 'system', text: 'a' }, HI] }), FREE).text).toBe(
      'a\nHello'
    )
    expect(bare.render(conversation({ messages: EVERYTHING, tools: [TIME] }), FREE).text).toContain(
      '{"tool_response"'
    )
  })

  test('tools that must not be called are not described, and nothing is taken for a call', () => {
    const { text, syntax, grammar } = template('google-gemma-2-2b-it').render(
      conversation({ tools: [TIME], toolChoice: 'none' }),
      FREE
    )
    expect(text).not.toContain('get_time')
    expect(syntax.calls).toBeUndefined()
    expect(grammar).toBeUndefined()
  })

  test('a template for tools is for conversations with tools', () => {
    const source = {
      template: '{% for m in messages %}[{{ m.content }}]{% endfor %}',
      toolUse: fixture('Qwen-Qwen2.5-7B-Instruct')
    }
    const both = new ChatTemplate(source, SPECIALS)
    expect(both.render(conversation(), FREE).text).toBe('[Hello]')
    expect(both.render(conversation({ tools: [TIME] }), FREE).text).toContain('<tools>')
    expect(both.syntax.calls?.before).toBe('<tool_call>\n')
  })

  test('calls that a template takes one by one only, each with its result', () => {
    const { text } = template('meta-llama-Llama-3.2-3B-Instruct').render(
      conversation({ messages: CALLED, tools: [TIME] }),
      FREE
    )
    const order = ['"Rio"', '"noon"', '"Ulm"', '"half past ten"'].map((part) => text.indexOf(part))
    expect(order).toEqual(order.toSorted((a, b) => a - b))
    expect(order).not.toContain(-1)
  })

  test('ids of nine letters where they have to be, the same in call and result', () => {
    const { text } = template('mistralai-Mistral-Nemo-Instruct-2407').render(
      conversation({ messages: CALLED, tools: [TIME] }),
      FREE
    )
    const ids = [...text.matchAll(/"(?:call_)?id": "([a-z0-9]{9})"/g)].map(([, id]) => id)
    expect(ids).toHaveLength(4)
    expect(new Set(ids).size).toBe(2)
  })

  test('turns that a strict template refuses', () => {
    const strict = template('google-gemma-2-2b-it')
    const twice = strict.render(
      conversation({ messages: [HI, HI, { role: 'system', text: 'Be kind.' }, HI] }),
      FREE
    )
    expect(twice.text).toBe(
      '<s><start_of_turn>user\nHello\n\nHello\n\nBe kind.\nHello<end_of_turn>\n<start_of_turn>model\n'
    )
    const refused = expect.objectContaining({
      code: 'INPUT',
      data: { field: 'messages' },
      message: expect.stringContaining('alternate')
    })
    expect(() =>
      strict.render(conversation({ messages: [{ role: 'assistant', text: 'Hi' }, HI] }), FREE)
    ).toThrow(refused)
  })
})

test('any conversation is rendered, or refused in words', () => {
  const text = fc.constantFrom('', 'x', '<think>', '</think>', '{{ x }}', '<|im_end|>', '🐠')
  const given = fc.constantFrom('{}', '', 'no JSON', '5', '[1]', '{"a":{"b":[null]}}')
  const call = fc.record({
    id: fc.constantFrom('a', 'b'),
    name: fc.constantFrom('get_time', 'rm'),
    arguments: given
  })
  const anyMessage: fc.Arbitrary<Message> = fc.oneof(
    fc.record({ role: fc.constantFrom('system' as const, 'user' as const), text }),
    fc.record({
      role: fc.constant('assistant' as const),
      text,
      reasoning: text,
      calls: fc.array(call, { maxLength: 3 })
    }),
    fc.record({ role: fc.constant('tool' as const), call: fc.constantFrom('a', 'b', 'c'), text })
  )
  const templates = ALL.map(template)
  const input = fc.record({
    messages: fc.array(anyMessage, { maxLength: 6 }),
    tools: fc.constantFrom([], [TIME], [{ name: 'rm', parameters: {} }]),
    toolChoice: fc.constantFrom('auto', 'none'),
    reasoning: fc.constantFrom(undefined, 'none', 'high')
  }) as fc.Arbitrary<Partial<Conversation>>
  let rendered = 0
  fc.assert(
    fc.property(input, fc.constantFrom(...templates), (changes, one) => {
      try {
        expect(one.render(conversation(changes), FREE).text).not.toContain('[object ')
        rendered += 1
      } catch (error) {
        expect(error).toMatchObject({ code: 'INPUT', data: { field: 'messages' } })
      }
    }),
    { seed: 4, numRuns: 1_000 }
  )
  expect(rendered).toBeGreaterThan(700)
})

describe('reasoning', () => {
  test.each([
    ['Qwen-Qwen3-0.6B', undefined, false],
    ['Qwen-Qwen3-0.6B', 'none', false],
    ['deepseek-ai-DeepSeek-V3.1', 'high', true],
    ['deepseek-ai-DeepSeek-V3.1', 'none', false],
    ['deepseek-ai-DeepSeek-R1-Distill-Llama-8B', undefined, true]
  ] as const)('%s with effort %s is begun: %s', (name, reasoning, isReasoning) => {
    const { syntax } = template(name).render(conversation({ reasoning }), FREE)
    expect(syntax).toMatchObject({ isReasoning, needsSpecials: true, reasoning: { close: '</think>' } })
  })

  test('that a template always begins is closed where none is wanted', () => {
    const { text, syntax } = template('deepseek-ai-DeepSeek-R1-Distill-Llama-8B').render(
      conversation({ reasoning: 'none' }),
      FREE
    )
    expect(text.endsWith('<think>\n\n</think>\n\n')).toBe(true)
    expect(syntax.isReasoning).toBe(false)
  })

  test('of earlier turns is given to templates that ask for it', () => {
    const messages: Message[] = [
      HI,
      {
        role: 'assistant',
        text: '',
        reasoning: 'I wonder.',
        calls: [{ id: 'a', name: 'get_time', arguments: '{}' }]
      },
      { role: 'tool', call: 'a', text: 'noon' }
    ]
    const shown = ['Qwen-Qwen3-0.6B', 'openai-gpt-oss-120b', 'mistralai-Ministral-3-14B-Reasoning-2512']
    for (const name of shown) {
      expect(template(name).render(conversation({ messages, tools: [TIME] }), FREE).text).toContain(
        'I wonder.'
      )
    }
  })

  test('is in the grammar of a format', () => {
    const format: Format = { kind: 'schema', schema: { const: 'x' } }
    const { grammar, syntax } = template('deepseek-ai-DeepSeek-V3.1').render(
      conversation({ reasoning: 'high' }),
      format
    )
    const text = new Gbnf(grammar ?? '').sample(seeded(1))
    expect(text).toMatch(/<\/think>\s*"x"$/)
    expect(new AnswerParser(syntax, { stop: [], newId: () => 'a' }).push(text).at(-1)).toEqual({
      type: 'text',
      text: '"x"'
    })
  })
})

describe('templates of strangers', () => {
  const PLAIN = '{% for m in messages %}{{ m.content }}{% endfor %}'
  test.each([
    ['does not parse', '{% for'],
    ['renders nothing', 'Hello'],
    ['refuses everything', "{{ raise_exception('No.') }}"],
    ['is too long', `${PLAIN}${' '.repeat(300_000)}`],
    [
      'loops without end',
      `${PLAIN}{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}`
    ],
    ['counts too far', `${PLAIN}{% for a in range(1000000000) %}{% endfor %}`],
    ['calls itself', `${PLAIN}{% macro a() %}{{ a() }}{% endmacro %}{{ a() }}`],
    [
      'doubles text',
      `${PLAIN}{% set ns = namespace(s='aaaaaaaa') %}{% for a in range(99) %}{% set ns.s = ns.s + ns.s %}{% endfor %}`
    ],
    [
      'doubles lists',
      `${PLAIN}{% set ns = namespace(s=[1]) %}{% for a in range(99) %}{% set ns.s = [ns.s, ns.s] %}{% endfor %}{{ ns.s | tojson }}`
    ],
    ['nests without end', `${PLAIN}{{ ${'('.repeat(50_000)}1${')'.repeat(50_000)} }}`]
  ])('one that %s is refused', (_, source) => {
    const startedAt = performance.now()
    expect(() => made(source)).toThrow(
      expect.objectContaining({
        code: 'TEMPLATE',
        message: expect.stringContaining('chat template cannot be used')
      })
    )
    expect(performance.now() - startedAt).toBeLessThan(20_000)
  })

  test('one that hangs for some conversations only', () => {
    const source = `${PLAIN}{% if messages|length > 1 and messages[1].content == 'go' %}{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}{% endif %}`
    const sly = made(source)
    expect(sly.render(conversation(), FREE).text).toBe('Hello')
    const messages: Message[] = [HI, { role: 'assistant', text: 'go' }]
    expect(() => sly.render(conversation({ messages }), FREE)).toThrow(ShoalError)
    expect(() => sly.render(conversation({ messages }), FREE)).not.toThrow(AnswerError)
  })

  test('reach nothing of ours', () => {
    const source = `${PLAIN}{{ messages.constructor }}{{ raise_exception.constructor }}{{ process }}{{ globalThis }}`
    expect(made(source).render(conversation(), FREE).text).toBe('Hello')
  })

  test('know the time', () => {
    const source = `${PLAIN}{{ strftime_now('%A %a %d %b %B %Y %y %H:%M:%S %I %p %m %% %q') }}`
    expect(made(source).render(conversation(), FREE).text).toBe(
      'HelloSunday Sun 09 Mar March 2025 25 14:05:06 02 PM 03 % %q'
    )
  })
})
