import { describe, expect, test } from 'vitest'
import { AnswerError, type AnswerEvent } from '../../chat/index.ts'
import { endEvent, play, type SentEvent, START, sentEvents, TestGateway, textEvent } from '../testing.ts'
import { anthropicErrorReply, countReply, messageReply } from './replies.ts'

const PATH = '/v1/messages'
const ASK = { model: 'tiny', max_tokens: 50, messages: [{ role: 'user', content: 'Hello?' }] }
const TOOL = { name: 'find', input_schema: { type: 'object' } }

const everything: readonly AnswerEvent[] = [
  START,
  { type: 'reasoning', text: 'H' },
  { type: 'reasoning', text: 'm.' },
  textEvent('Hi'),
  textEvent(' there'),
  { type: 'call', index: 0, id: 'c0', name: 'find' },
  { type: 'arguments', index: 0, text: '{"a"' },
  { type: 'arguments', index: 0, text: ':1}' },
  { type: 'call', index: 1, id: 'c1', name: 'find' },
  { type: 'arguments', index: 1, text: '{}' },
  endEvent('calls')
]

async function whole(response: Response) {
  return messageReply.parse(await response.json())
}

async function failure(response: Response) {
  return { status: response.status, ...anthropicErrorReply.parse(await response.json()) }
}

/** As Anthropic's clients put a message together. Fails where events are out of order. */
function assemble(events: readonly SentEvent[]): unknown {
  let message: Record<string, unknown> = {}
  const content: Record<string, string | unknown>[] = []
  let open = -1
  for (const { name, data } of events) {
    const event = data as Record<string, Record<string, unknown>> & { type: string; index: number }
    expect(event.type).toBe(name)
    if (name === 'message_start') message = { ...event.message }
    else if (name === 'content_block_start') {
      expect([open, event.index]).toEqual([-1, content.length])
      open = event.index
      content.push({ ...event.content_block, ...(event.content_block?.type === 'tool_use' && { input: '' }) })
    } else if (name === 'content_block_delta') {
      expect(event.index).toBe(open)
      const { type, ...fields } = event.delta as Record<string, string>
      const [[key, value]] = Object.entries(fields) as [[string, string]]
      const field = key === 'partial_json' ? 'input' : key
      const block = content[open] as Record<string, string>
      block[field] += value
    } else if (name === 'content_block_stop') {
      expect(event.index).toBe(open)
      open = -1
    } else if (name === 'message_delta') message = { ...message, ...event.delta, usage: event.usage }
  }
  expect([open, events.at(-1)?.name]).toEqual([-1, 'message_stop'])
  const parsed = content.map((block) =>
    block.type === 'tool_use' ? { ...block, input: JSON.parse(block.input as string) } : block
  )
  return { ...message, content: parsed }
}

describe('whole answers', () => {
  test('have blocks in order, and usage without what was computed before', async () => {
    const answer = await whole(
      await new TestGateway(play(...everything)).post(PATH, { ...ASK, tools: [TOOL] })
    )
    expect(answer).toMatchObject({
      model: 'demo/tiny',
      content: [
        { type: 'thinking', thinking: 'Hm.' },
        { type: 'text', text: 'Hi there' },
        { type: 'tool_use', id: 'c0', name: 'find', input: { a: 1 } },
        { type: 'tool_use', id: 'c1', name: 'find', input: {} }
      ],
      stop_reason: 'tool_use',
      usage: { input_tokens: 4, cache_read_input_tokens: 3, output_tokens: 5 }
    })
  })

  test.each([
    [endEvent(), 'end_turn', null],
    [endEvent('stop', '##'), 'stop_sequence', '##'],
    [endEvent('length'), 'max_tokens', null]
  ])('say why they ended (%#)', async (end, reason, sequence) => {
    const answer = await whole(await new TestGateway(play(START, textEvent('Hi'), end)).post(PATH, ASK))
    expect([answer.stop_reason, answer.stop_sequence]).toEqual([reason, sequence])
  })

  test('have no input where arguments were cut off', async () => {
    const cut = [...everything.slice(0, 7), endEvent('length')]
    const answer = await whole(await new TestGateway(play(...cut)).post(PATH, { ...ASK, tools: [TOOL] }))
    expect(answer.content.at(-1)).toMatchObject({ type: 'tool_use', input: {} })
    expect(answer.stop_reason).toBe('max_tokens')
  })
})

test('streams make the same message', async () => {
  const gateway = new TestGateway(play(...everything))
  const answer = await whole(await gateway.post(PATH, { ...ASK, tools: [TOOL] }))
  const events = await sentEvents(await gateway.post(PATH, { ...ASK, tools: [TOOL], stream: true }))
  expect(messageReply.parse(assemble(events))).toEqual({ ...answer, id: expect.stringMatching(/^msg_/) })
})

test('streams that break end with an error event', async () => {
  const gateway = new TestGateway(async function* () {
    yield START
    yield textEvent('Hi')
    throw new AnswerError('BUSY', 'all chains are full')
  })
  const last = (await sentEvents(await gateway.post(PATH, { ...ASK, stream: true }))).at(-1)
  expect(last?.name).toBe('error')
  expect(last?.data).toEqual({
    type: 'error',
    error: { type: 'overloaded_error', message: 'all chains are full' },
    request_id: 'req-1'
  })
})

describe('the internal request', () => {
  test('has the conversation, results of tools as messages of their own', async () => {
    const gateway = new TestGateway(play(START, endEvent()))
    const messages = [
      { role: 'user', content: [{ type: 'text', text: 'One.', cache_control: { type: 'ephemeral' } }] },
      {
        role: 'assistant',
        content: [
          { type: 'thinking', thinking: 'Look.', signature: 's' },
          { type: 'text', text: 'I look.' },
          { type: 'tool_use', id: 'c0', name: 'find', input: { a: 1 } }
        ]
      },
      {
        role: 'user',
        content: [
          {
            type: 'tool_result',
            tool_use_id: 'c0',
            content: [{ type: 'text', text: 'none' }],
            is_error: true
          },
          { type: 'text', text: 'Go' },
          { type: 'text', text: 'on.' }
        ]
      }
    ]
    await gateway.post(PATH, {
      ...ASK,
      messages,
      system: [{ type: 'text', text: 'Be brief.' }],
      tools: [TOOL],
      tool_choice: { type: 'any', disable_parallel_tool_use: true },
      thinking: { type: 'enabled', budget_tokens: 10_000 },
      stop_sequences: ['##'],
      temperature: 0,
      output_config: { format: { type: 'json_schema', schema: { type: 'object' } } }
    })
    expect(gateway.answers.asked[0]).toMatchObject({
      maxTokens: 50,
      stop: ['##'],
      sampling: { temperature: 0 },
      format: { kind: 'schema', schema: { type: 'object' } },
      input: {
        messages: [
          { role: 'system', text: 'Be brief.' },
          { role: 'user', text: 'One.' },
          {
            role: 'assistant',
            text: 'I look.',
            reasoning: 'Look.',
            calls: [{ id: 'c0', name: 'find', arguments: '{"a":1}' }]
          },
          { role: 'tool', call: 'c0', name: 'find', text: 'Error: none' },
          { role: 'user', text: 'Go\non.' }
        ],
        tools: [{ name: 'find', parameters: { type: 'object' } }],
        toolChoice: 'required',
        parallelCalls: false,
        reasoning: 'medium'
      }
    })
  })
})

describe('errors have Anthropic’s types:', () => {
  const image = { role: 'user', content: [{ type: 'image', source: {} }] }
  const cases: readonly [name: string, fields: object, message: RegExp][] = [
    ['no max_tokens', { max_tokens: undefined }, /^max_tokens: /],
    ['images', { messages: [image] }, /^messages\[0\]\.content\[0\]\.type: .*images/],
    ['a begun answer', { messages: [{ role: 'assistant', content: 'I' }] }, /begun/],
    [
      'tools of Anthropic’s own',
      { tools: [{ type: 'bash_20250124', name: 'bash' }] },
      /^tools\[0\]\.type: only tools/
    ],
    ['servers of tools', { mcp_servers: [{}] }, /^mcp_servers: /],
    [
      'a result of no call',
      { messages: [{ role: 'user', content: [{ type: 'tool_result', tool_use_id: 'x' }] }] },
      /tool_use/
    ]
  ]
  test.each(cases)('%s', async (_, fields, message) => {
    const response = await new TestGateway(play()).post(PATH, { ...ASK, ...fields })
    expect(response.headers.get('request-id')).toBe('req-1')
    expect(await failure(response)).toMatchObject({
      status: 400,
      error: { type: 'invalid_request_error', message: expect.stringMatching(message) },
      request_id: 'req-1'
    })
  })

  test('an unknown model', async () => {
    const error = await failure(await new TestGateway(play()).post(PATH, { ...ASK, model: 'other' }))
    expect(error).toMatchObject({ status: 404, error: { type: 'not_found_error' } })
  })

  test('too many at once, 529', async () => {
    // biome-ignore lint/correctness/useYield: it fails before
    const gateway = new TestGateway(async function* () {
      throw new AnswerError('BUSY', 'all chains are full')
    })
    const error = await failure(await gateway.post(PATH, ASK))
    expect(error).toMatchObject({ status: 529, error: { type: 'overloaded_error' } })
  })
})

test('tokens are counted without an answer', async () => {
  const gateway = new TestGateway(play())
  const { max_tokens: _, ...prompt } = ASK
  const response = await gateway.post('/v1/messages/count_tokens', prompt)
  expect(countReply.parse(await response.json()).input_tokens).toBeGreaterThan(0)
  expect(gateway.answers.asked).toEqual([])
  expect(await failure(await gateway.post('/v1/messages/count_tokens', {}))).toMatchObject({ status: 400 })
})
