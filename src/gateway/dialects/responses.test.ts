import { describe, expect, test } from 'vitest'
import { AnswerError, type AnswerEvent } from '../../chat/index.ts'
import { endEvent, play, type SentEvent, START, sentEvents, TestGateway, textEvent } from '../testing.ts'
import { errorReply, responseReply } from './replies.ts'

const PATH = '/v1/responses'
const ASK = { model: 'tiny', input: 'Hello?' }
const TOOL = { type: 'function', name: 'find', parameters: { type: 'object' } }

const everything: readonly AnswerEvent[] = [
  START,
  { type: 'reasoning', text: 'H' },
  { type: 'reasoning', text: 'm.' },
  textEvent('Hi'),
  textEvent(' there'),
  { type: 'call', index: 0, id: 'c0', name: 'find' },
  { type: 'arguments', index: 0, text: '{"a"' },
  { type: 'arguments', index: 0, text: ':1}' },
  endEvent('calls')
]

async function whole(response: Response) {
  return responseReply.parse(await response.json())
}

interface Said {
  readonly type: string
  readonly sequence_number: number
  readonly delta?: string
  readonly response?: unknown
}

function saidIn(events: readonly SentEvent[]): readonly Said[] {
  const said = events.map(({ data }) => data as Said)
  expect(said.map(({ type }) => type)).toEqual(events.map(({ name }) => name))
  expect(said.map((event) => event.sequence_number)).toEqual([...said.keys()])
  return said
}

/** Without what is drawn for each response. */
function plain(response: unknown): unknown {
  return JSON.parse(JSON.stringify(response).replaceAll(/(resp|msg|rs|fc)_[0-9a-f]{32}/g, '$1'))
}

test('whole answers have items in order', async () => {
  const response = await new TestGateway(play(...everything)).post(PATH, { ...ASK, tools: [TOOL] })
  expect(await whole(response)).toMatchObject({
    status: 'completed',
    model: 'demo/tiny',
    store: false,
    tools: [TOOL],
    tool_choice: 'auto',
    output: [
      { type: 'reasoning', status: 'completed', content: [{ type: 'reasoning_text', text: 'Hm.' }] },
      { type: 'message', status: 'completed', content: [{ type: 'output_text', text: 'Hi there' }] },
      { type: 'function_call', status: 'completed', call_id: 'c0', name: 'find', arguments: '{"a":1}' }
    ],
    usage: {
      input_tokens: 7,
      input_tokens_details: { cached_tokens: 3 },
      output_tokens: 5,
      output_tokens_details: { reasoning_tokens: 2 },
      total_tokens: 12
    }
  })
})

test('an answer without room for more is incomplete, and so is what was open', async () => {
  const gateway = new TestGateway(play(START, textEvent('Hi'), endEvent('length')))
  expect(await whole(await gateway.post(PATH, ASK))).toMatchObject({
    status: 'incomplete',
    incomplete_details: { reason: 'max_output_tokens' },
    output: [{ type: 'message', status: 'incomplete' }]
  })
  const said = saidIn(await sentEvents(await gateway.post(PATH, { ...ASK, stream: true })))
  expect(said.at(-1)?.type).toBe('response.incomplete')
})

describe('streams', () => {
  test('say each layer’s beginning and end, numbered', async () => {
    const response = await new TestGateway(play(...everything)).post(PATH, {
      ...ASK,
      tools: [TOOL],
      stream: true
    })
    const types = saidIn(await sentEvents(response)).map(({ type }) => type.replace('response.', ''))
    expect(types.filter((type, index) => type !== types[index - 1])).toEqual([
      'created',
      'in_progress',
      ...['output_item.added', 'content_part.added', 'reasoning_text.delta', 'reasoning_text.done'],
      ...['content_part.done', 'output_item.done'],
      ...['output_item.added', 'content_part.added', 'output_text.delta', 'output_text.done'],
      ...['content_part.done', 'output_item.done'],
      ...[
        'output_item.added',
        'function_call_arguments.delta',
        'function_call_arguments.done',
        'output_item.done'
      ],
      'completed'
    ])
  })

  test('end with the response that there is otherwise', async () => {
    const gateway = new TestGateway(play(...everything))
    const answer = await whole(await gateway.post(PATH, { ...ASK, tools: [TOOL] }))
    const said = saidIn(await sentEvents(await gateway.post(PATH, { ...ASK, tools: [TOOL], stream: true })))
    expect(plain(said.at(-1)?.response)).toEqual(plain(answer))
    const text = said.filter(({ type }) => type === 'response.output_text.delta').map(({ delta }) => delta)
    expect(text.join('')).toBe('Hi there')
  })

  test('that break end with the failed response', async () => {
    const gateway = new TestGateway(async function* () {
      yield START
      yield textEvent('Hi')
      throw new AnswerError('LOST', 'the chain broke')
    })
    const said = saidIn(await sentEvents(await gateway.post(PATH, { ...ASK, stream: true })))
    expect(said.at(-1)).toMatchObject({
      type: 'response.failed',
      response: { status: 'failed', error: { code: 'server_error', message: 'the chain broke' } }
    })
  })
})

test('log probabilities come if they are included', async () => {
  const token = { token: 5, bytes: Uint8Array.of(72, 105), logProbability: -0.5 }
  const gateway = new TestGateway(
    play(START, textEvent('Hi', [{ ...token, alternatives: [token] }]), endEvent())
  )
  const include = ['message.output_text.logprobs']
  const { output } = await whole(await gateway.post(PATH, { ...ASK, include, top_logprobs: 1 }))
  const shown = { token: 'Hi', logprob: -0.5, bytes: [72, 105] }
  expect(output).toMatchObject([{ content: [{ logprobs: [{ ...shown, top_logprobs: [shown] }] }] }])
  expect(gateway.answers.asked[0]?.alternatives).toBe(1)
})

test('items become messages: what was thought, said and called in one turn is one', async () => {
  const gateway = new TestGateway(play(START, endEvent()))
  await gateway.post(PATH, {
    model: 'tiny',
    instructions: 'Be brief.',
    input: [
      { role: 'user', content: [{ type: 'input_text', text: 'One.' }] },
      { type: 'reasoning', id: 'rs_1', summary: [], content: [{ type: 'reasoning_text', text: 'Look.' }] },
      {
        type: 'message',
        role: 'assistant',
        content: [{ type: 'output_text', text: 'I look.', annotations: [] }]
      },
      { type: 'function_call', call_id: 'c0', name: 'find', arguments: '{}' },
      { type: 'function_call', call_id: 'c1', name: 'find', arguments: '{}' },
      { type: 'function_call_output', call_id: 'c1', output: 'none' },
      { type: 'message', role: 'assistant', content: 'Nothing.' }
    ],
    text: { format: { type: 'json_object' } },
    reasoning: { effort: 'low' },
    max_output_tokens: 9
  })
  const call = { name: 'find', arguments: '{}' }
  expect(gateway.answers.asked[0]).toMatchObject({
    maxTokens: 9,
    format: { kind: 'json' },
    input: {
      reasoning: 'low',
      messages: [
        { role: 'system', text: 'Be brief.' },
        { role: 'user', text: 'One.' },
        {
          role: 'assistant',
          text: 'I look.',
          reasoning: 'Look.',
          calls: [
            { id: 'c0', ...call },
            { id: 'c1', ...call }
          ]
        },
        { role: 'tool', call: 'c1', name: 'find', text: 'none' },
        { role: 'assistant', text: 'Nothing.' }
      ]
    }
  })
})

test('what was said after a call is another message', async () => {
  const gateway = new TestGateway(play(START, endEvent()))
  const call = { call_id: 'c0', name: 'find', arguments: '{}' }
  const input = [
    { type: 'function_call', ...call },
    { role: 'assistant', content: 'I look.' },
    { role: 'user', content: 'Well?' }
  ]
  await gateway.post(PATH, { model: 'tiny', input })
  expect(gateway.answers.asked[0]?.input).toMatchObject({
    messages: [
      { role: 'assistant', text: '', calls: [{ id: 'c0' }] },
      { role: 'assistant', text: 'I look.', calls: [] },
      { role: 'user', text: 'Well?' }
    ]
  })
})

describe('refused with 400 and the field at fault:', () => {
  const cases: readonly [name: string, fields: object, param: string][] = [
    ['what was said before', { previous_response_id: 'resp_1' }, 'previous_response_id'],
    ['conversations', { conversation: 'conv_1' }, 'conversation'],
    ['work in the background', { background: true }, 'background'],
    ['leaving out', { truncation: 'auto' }, 'truncation'],
    ['tools of OpenAI’s own', { tools: [{ type: 'web_search' }] }, 'tools[0].type'],
    ['references', { input: [{ type: 'item_reference', id: 'x' }] }, 'input[0].type'],
    ['images', { input: [{ role: 'user', content: [{ type: 'input_image' }] }] }, 'input[0].content[0].type'],
    [
      'results of no call',
      { input: [{ type: 'function_call_output', call_id: 'x', output: '' }] },
      'input[0].call_id'
    ],
    ['no input', { input: undefined }, 'input']
  ]
  test.each(cases)('%s', async (_, fields, param) => {
    const response = await new TestGateway(play()).post(PATH, { ...ASK, ...fields })
    const { error } = errorReply.parse(await response.json())
    expect([response.status, error.param]).toEqual([400, param])
  })
})
