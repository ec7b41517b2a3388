import { describe, expect, test } from 'vitest'
import { AnswerError, type DrawnLog } from '../../chat/index.ts'
import {
  endEvent,
  play,
  ScriptedAnswers,
  type SentEvent,
  START,
  sentEvents,
  TestGateway,
  textEvent
} from '../testing.ts'
import { chatChunk, chatCompletion, errorReply } from './replies.ts'

const PATH = '/v1/chat/completions'
const ASK = { model: 'tiny', messages: [{ role: 'user', content: 'Hello?' }] }
const TOOL = { type: 'function', function: { name: 'find', parameters: { type: 'object' } } }
const CALL = { type: 'call', index: 0, id: 'call_1', name: 'find' } as const

const log: DrawnLog = {
  token: 5,
  bytes: new TextEncoder().encode('Hi'),
  logProbability: -0.5,
  alternatives: [{ token: 6, bytes: Uint8Array.of(0xff), logProbability: -Infinity }]
}

const speak = play(
  START,
  { type: 'reasoning', text: 'Hm.' },
  textEvent('Hi', [log]),
  textEvent(' there'),
  endEvent()
)
const call = play(
  START,
  CALL,
  { type: 'arguments', index: 0, text: '{"a":' },
  { type: 'arguments', index: 0, text: '1}' },
  endEvent('calls')
)

/** The chunks without `[DONE]`, which has to be there. */
function chunksOf(events: readonly SentEvent[]) {
  expect(events.at(-1)?.data).toBe('[DONE]')
  return events.slice(0, -1).map(({ data }) => chatChunk.parse(data))
}

async function failure(response: Response) {
  return { status: response.status, ...errorReply.parse(await response.json()).error }
}

describe('whole answers', () => {
  test('have text, reasoning, log probabilities and usage', async () => {
    const gateway = new TestGateway(speak)
    const response = await gateway.post(PATH, { ...ASK, logprobs: true, top_logprobs: 1 })
    const answer = chatCompletion.parse(await response.json())
    expect(answer.choices[0]?.message).toEqual({
      role: 'assistant',
      content: 'Hi there',
      refusal: null,
      reasoning_content: 'Hm.'
    })
    expect(answer.choices[0]?.logprobs?.content).toEqual([
      {
        token: 'Hi',
        logprob: -0.5,
        bytes: [72, 105],
        top_logprobs: [{ token: '\u{fffd}', logprob: -9999, bytes: [255] }]
      }
    ])
    expect(answer.usage).toEqual({
      prompt_tokens: 7,
      completion_tokens: 5,
      total_tokens: 12,
      prompt_tokens_details: { cached_tokens: 3 },
      completion_tokens_details: { reasoning_tokens: 2 }
    })
    expect(answer.shoal).toBeUndefined()
    expect([gateway.admitted, gateway.released]).toEqual([1, 1])
    expect(response.headers.get('x-request-id')).toBe('req-1')
  })

  test('are calls of tools', async () => {
    const response = await new TestGateway(call).post(PATH, { ...ASK, tools: [TOOL] })
    const { choices } = chatCompletion.parse(await response.json())
    expect(choices[0]).toMatchObject({
      finish_reason: 'tool_calls',
      message: {
        content: null,
        tool_calls: [{ id: 'call_1', function: { name: 'find', arguments: '{"a":1}' } }]
      }
    })
  })

  test('are several, each with a seed of its own, and their prompt counts once', async () => {
    const gateway = new TestGateway(speak)
    const response = await gateway.post(PATH, { ...ASK, n: 3, seed: 2 ** 32 - 1 })
    const answer = chatCompletion.parse(await response.json())
    expect(answer.choices.map((choice) => choice.index)).toEqual([0, 1, 2])
    expect(gateway.answers.asked.map(({ sampling }) => sampling.seed)).toEqual([2 ** 32 - 1, 0, 1])
    expect(answer.usage).toMatchObject({ prompt_tokens: 7, completion_tokens: 15, total_tokens: 22 })
  })

  test('tell of the chain if asked', async () => {
    const response = await new TestGateway(speak).post(PATH, ASK, { 'x-shoal-details': '1' })
    const { shoal } = chatCompletion.parse(await response.json())
    expect(shoal).toMatchObject([{ hops: [{ peer: 'a' }], timings: { decodeMs: 4 } }])
  })

  test('that are cut off without an end are errors, not short', async () => {
    const gateway = new TestGateway(play(START, textEvent('Hi')))
    expect(await failure(await gateway.post(PATH, ASK))).toMatchObject({
      status: 500,
      code: 'internal_error'
    })
    expect(gateway.logged).toHaveLength(1)
  })
})

describe('streams', () => {
  test('say in chunks what is said at once otherwise', async () => {
    const response = await new TestGateway(speak).post(PATH, { ...ASK, stream: true, logprobs: true })
    expect(Object.fromEntries(response.headers)).toMatchObject({
      'content-type': 'text/event-stream; charset=utf-8',
      'cache-control': 'no-cache, no-transform',
      'x-accel-buffering': 'no'
    })
    const chunks = chunksOf(await sentEvents(response))
    const deltas = chunks.map(({ choices }) => choices[0]?.delta)
    expect(deltas[0]).toEqual({ role: 'assistant', content: '', refusal: null })
    expect(deltas.map((delta) => delta?.content ?? '').join('')).toBe('Hi there')
    expect(deltas.map((delta) => delta?.reasoning_content ?? '').join('')).toBe('Hm.')
    expect(chunks.map(({ choices }) => choices[0]?.finish_reason).filter(Boolean)).toEqual(['stop'])
    expect(chunks.flatMap(({ choices }) => choices[0]?.logprobs?.content ?? [])).toHaveLength(1)
    expect(new Set(chunks.map(({ id }) => id)).size).toBe(1)
    expect(chunks.every((chunk) => !('usage' in chunk) && !('shoal' in chunk))).toBe(true)
  })

  test('end with the usage if asked', async () => {
    const body = { ...ASK, stream: true, n: 2, stream_options: { include_usage: true } }
    const chunks = chunksOf(await sentEvents(await new TestGateway(speak).post(PATH, body)))
    expect(chunks.slice(0, -1).every((chunk) => chunk.usage === null)).toBe(true)
    expect(chunks.at(-1)).toMatchObject({ choices: [], usage: { prompt_tokens: 7, completion_tokens: 10 } })
  })

  test('bring calls in parts', async () => {
    const response = await new TestGateway(call).post(PATH, { ...ASK, tools: [TOOL], stream: true })
    const chunks = chunksOf(await sentEvents(response))
    const calls = chunks.flatMap(({ choices }) => choices[0]?.delta.tool_calls ?? [])
    expect(calls[0]).toEqual({
      index: 0,
      id: 'call_1',
      type: 'function',
      function: { name: 'find', arguments: '' }
    })
    expect(calls.map((part) => part.function.arguments).join('')).toBe('{"a":1}')
    expect(chunks.at(-1)?.choices[0]?.finish_reason).toBe('tool_calls')
  })

  test('tell of the chain in comments if asked, and in the end', async () => {
    const lost = play(START, { type: 'chain', change: 'lost', message: 'a node left' }, endEvent())
    const plain = await new TestGateway(lost).post(PATH, { ...ASK, stream: true })
    expect(await plain.text()).not.toContain('shoal {')
    const detailed = await new TestGateway(lost).post(
      PATH,
      { ...ASK, stream: true },
      { 'x-shoal-details': '1' }
    )
    const text = await detailed.text()
    expect(text).toContain(': shoal {"index":0,"change":"lost","message":"a node left"}\n\n')
    expect(text).toContain('"shoal":[{"hops":')
  })

  test('that break in the middle end with an error, and without [DONE]', async () => {
    const gateway = new TestGateway(async function* () {
      yield START
      yield textEvent('Hi')
      throw new AnswerError('LOST', 'the chain broke, and nobody took over')
    })
    const events = await sentEvents(await gateway.post(PATH, { ...ASK, stream: true }))
    expect(errorReply.parse(events.at(-1)?.data).error).toMatchObject({ code: 'chain_lost' })
    expect(gateway.released).toBe(1)
  })

  test('that break in a way that nobody foresaw tell nothing of it', async () => {
    const gateway = new TestGateway(async function* () {
      yield START
      throw new TypeError('secret')
    })
    const text = await (await gateway.post(PATH, { ...ASK, stream: true })).text()
    expect(text).toContain('internal_error')
    expect(text).not.toContain('secret')
    expect(gateway.logged).toMatchObject([{ message: 'secret' }])
  })
})

describe('the internal request', () => {
  test('has everything that was asked', async () => {
    const gateway = new TestGateway(speak)
    const messages = [
      { role: 'developer', content: 'Be brief.' },
      {
        role: 'user',
        content: [
          { type: 'text', text: 'One.' },
          { type: 'text', text: 'Two.' }
        ]
      },
      {
        role: 'assistant',
        content: null,
        reasoning_content: 'Look.',
        tool_calls: [{ id: 'c1', type: 'function', function: { name: 'find', arguments: '{}' } }]
      },
      { role: 'tool', tool_call_id: 'c1', content: 'found' }
    ]
    await gateway.post(PATH, {
      model: 'tiny',
      messages,
      temperature: 0.5,
      top_p: 0.9,
      top_k: 40,
      min_p: 0.1,
      frequency_penalty: 1,
      presence_penalty: -1,
      repeat_penalty: 1.1,
      logit_bias: { 12: -100 },
      seed: 3,
      stop: ['a', 'b'],
      max_tokens: 5,
      max_completion_tokens: 9,
      logprobs: true,
      top_logprobs: 2,
      response_format: { type: 'json_schema', json_schema: { name: 'x', schema: { type: 'object' } } },
      tools: [TOOL],
      tool_choice: { type: 'function', function: { name: 'find' } },
      parallel_tool_calls: false,
      reasoning_effort: 'xhigh',
      user: 'ignored'
    })
    expect(gateway.answers.asked).toEqual([
      {
        model: 'tiny',
        input: {
          kind: 'conversation',
          messages: [
            { role: 'system', text: 'Be brief.' },
            { role: 'user', text: 'One.\nTwo.' },
            {
              role: 'assistant',
              text: '',
              reasoning: 'Look.',
              calls: [{ id: 'c1', name: 'find', arguments: '{}' }]
            },
            { role: 'tool', call: 'c1', name: 'find', text: 'found' }
          ],
          tools: [{ name: 'find', description: undefined, parameters: { type: 'object' } }],
          toolChoice: { name: 'find' },
          parallelCalls: false,
          reasoning: 'high'
        },
        maxTokens: 9,
        stop: ['a', 'b'],
        sampling: {
          temperature: 0.5,
          topP: 0.9,
          topK: 40,
          minP: 0.1,
          frequencyPenalty: 1,
          presencePenalty: -1,
          repeatPenalty: 1.1,
          logitBias: [{ token: 12, bias: -100 }],
          seed: 3
        },
        format: { kind: 'schema', schema: { type: 'object' } },
        alternatives: 2
      }
    ])
  })

  test('leaves to the model what was not asked, and takes null as that', async () => {
    const gateway = new TestGateway(speak)
    const nulls = {
      temperature: null,
      stop: null,
      tools: null,
      response_format: null,
      logit_bias: null,
      n: null
    }
    await gateway.post(PATH, { ...ASK, ...nulls })
    expect(gateway.answers.asked[0]).toMatchObject({
      maxTokens: undefined,
      stop: [],
      sampling: { temperature: undefined, seed: undefined, logitBias: [] },
      format: { kind: 'text' },
      alternatives: undefined,
      input: { tools: [], toolChoice: 'none', reasoning: undefined }
    })
  })
})

describe('refused with 400 and the field at fault:', () => {
  const deep = JSON.parse(`${'{"a":'.repeat(100)}{}${'}'.repeat(100)}`)
  const image = { role: 'user', content: [{ type: 'image_url', image_url: { url: 'data:' } }] }
  const cases: readonly [name: string, fields: object, param: string, message?: RegExp][] = [
    ['no model', { model: undefined }, 'model'],
    ['no messages', { messages: [] }, 'messages'],
    ['images', { messages: [image] }, 'messages[0].content[0].type', /images can't be used/],
    [
      'unknown roles',
      { messages: [{ role: 'function', content: '' }] },
      'messages[0].role',
      /system, developer/
    ],
    [
      'results of no call',
      { messages: [{ role: 'tool', tool_call_id: 'x', content: '' }] },
      'messages[0].tool_call_id'
    ],
    ['text where a number belongs', { temperature: 'hot' }, 'temperature'],
    ['a bias that is too large', { logit_bias: { 1: 101 } }, 'logit_bias.1'],
    ['a bias of no token', { logit_bias: { x: 1 } }, 'logit_bias.x'],
    ['too many answers', { n: 17 }, 'n'],
    ['no tokens', { max_tokens: 0 }, 'max_tokens'],
    ['alternatives without log probabilities', { top_logprobs: 1 }, 'top_logprobs'],
    ['unknown tools', { tools: [{ type: 'web_search' }] }, 'tools[0].type', /functions only/],
    ['two tools of one name', { tools: [TOOL, TOOL] }, 'tools'],
    ['a choice of no tool', { tool_choice: 'required' }, 'tool_choice'],
    [
      'a choice of another tool',
      { tools: [TOOL], tool_choice: { type: 'function', function: { name: 'x' } } },
      'tool_choice'
    ],
    ['old functions', { functions: [] }, 'functions', /tools/],
    ['audio', { modalities: ['text', 'audio'] }, 'modalities[1]'],
    [
      'a schema without an end',
      { response_format: { type: 'json_schema', json_schema: { schema: deep } } },
      'response_format.json_schema.schema',
      /levels/
    ],
    [
      'a grammar and a format',
      { grammar: 'root ::= "a"', response_format: { type: 'json_object' } },
      'grammar'
    ]
  ]
  test.each(cases)('%s', async (_, fields, param, message = /./) => {
    const gateway = new TestGateway(speak)
    const error = await failure(await gateway.post(PATH, { ...ASK, ...fields }))
    expect(error).toMatchObject({ status: 400, type: 'invalid_request_error', param })
    expect(error.message).toMatch(message)
    expect(gateway.admitted).toBe(0)
  })

  test('what is not UTF-8', async () => {
    const body = Buffer.from(JSON.stringify(ASK).replace('?', '\u00ff'), 'latin1')
    const response = await new TestGateway(speak).app.request(PATH, { method: 'POST', body })
    expect(await failure(response)).toMatchObject({ status: 400, message: expect.stringMatching(/UTF-8/) })
  })

  test('what is not JSON', async () => {
    expect(await failure(await new TestGateway(speak).post(PATH, '{'))).toMatchObject({
      status: 400,
      param: null
    })
  })
})

describe('errors of answers have their status, streamed or not:', () => {
  const cases: readonly [AnswerError, object, string | null][] = [
    [
      new AnswerError('TOO_LONG', 'too long'),
      { status: 400, code: 'context_length_exceeded', param: 'messages' },
      null
    ],
    [
      new AnswerError('INPUT', 'no', { field: 'maxTokens' }),
      { status: 400, param: 'max_completion_tokens' },
      null
    ],
    [
      new AnswerError('NOT_COVERED', 'nobody hosts all of it', { missing: [[2, 4]], retrySeconds: 12.5 }),
      { status: 503, code: 'model_not_covered', message: 'nobody hosts all of it (missing blocks: 2-3)' },
      '13'
    ],
    [new AnswerError('BUSY', 'full', { retrySeconds: 2 }), { status: 503, code: 'overloaded' }, '2'],
    [new AnswerError('LOST', 'lost'), { status: 503, code: 'chain_lost' }, '5']
  ]
  test.each(cases)('%s', async (error, expected, retryAfter) => {
    // biome-ignore lint/correctness/useYield: it fails before
    const gateway = new TestGateway(async function* () {
      throw error
    })
    for (const streamed of [false, true]) {
      const response = await gateway.post(PATH, { ...ASK, stream: streamed })
      expect(response.headers.get('retry-after')).toBe(retryAfter)
      expect(response.headers.get('x-request-id')).toBe('req-1')
      expect(await failure(response)).toMatchObject(expected)
    }
  })

  test('unknown models', async () => {
    const gateway = new TestGateway(new ScriptedAnswers(speak))
    const error = await failure(await gateway.post(PATH, { ...ASK, model: 'other', stream: true }))
    expect(error).toMatchObject({ status: 404, code: 'model_not_found', param: 'model' })
  })
})
