/** The official client of Anthropic. */
import Anthropic, {
  APIUserAbortError,
  AuthenticationError,
  BadRequestError,
  InternalServerError,
  NotFoundError,
  RateLimitError
} from '@anthropic-ai/sdk'
import type { MessageParam, ToolUseBlock } from '@anthropic-ai/sdk/resources/messages'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type Served, serve } from './gateway.ts'

let served: Served
let client: Anthropic
const messages: MessageParam[] = [{ role: 'user', content: 'Tell me of the sea.' }]

beforeAll(async () => {
  served = await serve()
  client = new Anthropic({ baseURL: served.url, apiKey: served.key, maxRetries: 0 })
})

afterAll(() => served.stop())

function textOf(message: Anthropic.Message): string {
  return message.content.map((block) => (block.type === 'text' ? block.text : '')).join('')
}

describe('messages', () => {
  test('have a text, an end and usage', async () => {
    const message = await client.messages.create({
      model: served.model,
      max_tokens: 16,
      messages,
      system: 'Be brief.'
    })
    expect(message).toMatchObject({ type: 'message', role: 'assistant', model: served.model })
    expect(textOf(message).length).toBeGreaterThan(0)
    expect(['end_turn', 'max_tokens']).toContain(message.stop_reason)
    expect(message.usage.input_tokens).toBeGreaterThan(0)
    expect(message.usage.output_tokens).toBeLessThanOrEqual(16)
    expect(message._request_id).toBeTruthy()
  })

  test('without room end for max_tokens', async () => {
    const message = await client.messages.create({ model: served.model, max_tokens: 1, messages })
    expect(message.stop_reason).toBe('max_tokens')
  })

  test('are streamed as they are whole', async () => {
    const asked = { model: served.model, max_tokens: 24, messages, temperature: 0 }
    const whole = await client.messages.create(asked)
    const stream = client.messages.stream(asked)
    let text = ''
    stream.on('text', (delta) => {
      text += delta
    })
    const final = await stream.finalMessage()
    expect(text).toBe(textOf(whole))
    expect(textOf(final)).toBe(text)
    expect(final.stop_reason).toBe(whole.stop_reason)
    expect(final.usage.output_tokens).toBe(whole.usage.output_tokens)
  })

  test('end before a stop sequence, and name it', async () => {
    const asked = { model: served.model, max_tokens: 40, messages, temperature: 0 }
    const text = textOf(await client.messages.create(asked))
    const stop = text.slice(3, 6)
    const message = await client.messages.create({ ...asked, stop_sequences: [stop] })
    expect(message).toMatchObject({ stop_reason: 'stop_sequence', stop_sequence: stop })
    expect(textOf(message)).toBe(text.slice(0, text.indexOf(stop)))
  })

  test('may think first, in blocks of their own', async () => {
    const thinking = { type: 'enabled', budget_tokens: 1_024 } as const
    const message = await client.messages.create({ model: served.model, max_tokens: 64, messages, thinking })
    const kinds = message.content.map(({ type }) => type)
    expect(kinds.toSorted((a, b) => Number(b === 'thinking') - Number(a === 'thinking'))).toEqual(kinds)
  })

  test('are counted', async () => {
    const { input_tokens: short } = await client.messages.countTokens({ model: served.model, messages })
    const { input_tokens: long } = await client.messages.countTokens({
      model: served.model,
      messages,
      system: 'Be brief.'
    })
    expect(short).toBeGreaterThan(0)
    expect(long).toBeGreaterThan(short)
  })
})

describe('tools', () => {
  const tool = {
    name: 'weather',
    input_schema: {
      type: 'object',
      properties: { town: { type: 'string', maxLength: 12 }, unit: { enum: ['C', 'F'] } },
      required: ['town', 'unit'],
      additionalProperties: false
    }
  } as const
  const asked = { max_tokens: 200, messages, tools: [tool as unknown as Anthropic.Tool] }

  function callIn(message: Anthropic.Message): ToolUseBlock {
    const call = message.content.find((block) => block.type === 'tool_use')
    if (call === undefined) throw new Error('no tool was called')
    return call
  }

  test('are used, and the conversation goes on', async () => {
    const message = await client.messages.create({
      model: served.model,
      ...asked,
      tool_choice: { type: 'any', disable_parallel_tool_use: true }
    })
    expect(message.stop_reason).toBe('tool_use')
    const call = callIn(message)
    expect(call.input).toMatchObject({ town: expect.any(String), unit: expect.stringMatching(/^[CF]$/) })
    const on = await client.messages.create({
      model: served.model,
      ...asked,
      max_tokens: 12,
      tool_choice: { type: 'none' },
      messages: [
        ...messages,
        { role: 'assistant', content: message.content },
        { role: 'user', content: [{ type: 'tool_result', tool_use_id: call.id, content: '15 C' }] }
      ]
    })
    expect(textOf(on).length).toBeGreaterThan(0)
  })

  test('are used in streams', async () => {
    const choice = { type: 'tool', name: 'weather', disable_parallel_tool_use: true } as const
    const final = await client.messages
      .stream({ model: served.model, ...asked, tool_choice: choice })
      .finalMessage()
    expect(callIn(final).input).toMatchObject({ town: expect.any(String) })
  })
})

test('models are listed and found', async () => {
  const ids: string[] = []
  for await (const model of client.models.list()) ids.push(model.id)
  expect(ids).toContain(served.model)
  expect((await client.models.retrieve(served.model)).id).toBe(served.model)
})

describe('errors are the client’s typed ones:', () => {
  const ask = (fields: object, of = client) =>
    of.messages.create({
      model: served.model,
      messages,
      max_tokens: 4,
      ...fields
    }) as Promise<unknown> as Promise<never>

  test.each([true, false])('of the request (streamed: %s)', async (stream) => {
    await expect(ask({ model: 'no/such', stream })).rejects.toBeInstanceOf(NotFoundError)
    await expect(ask({ temperature: 9, stream })).rejects.toBeInstanceOf(BadRequestError)
    const long = [{ role: 'user', content: served.tooLong }]
    await expect(ask({ messages: long, stream })).rejects.toBeInstanceOf(BadRequestError)
  })

  test('of the swarm', async () => {
    const error = await ask({ model: served.holed }).catch((caught) => caught)
    expect(error).toBeInstanceOf(InternalServerError)
    expect(error).toMatchObject({ status: 503, type: 'overloaded_error' })
  })

  test('of keys', async () => {
    const stranger = new Anthropic({ baseURL: served.url, apiKey: 'sk-shoal-wrong', maxRetries: 0 })
    const error = await ask({}, stranger).catch((caught) => caught)
    expect(error).toBeInstanceOf(AuthenticationError)
    expect(error.type).toBe('authentication_error')
    const limited = new Anthropic({ baseURL: served.url, apiKey: served.limitedKey, maxRetries: 0 })
    await ask({}, limited)
    await expect(ask({}, limited)).rejects.toBeInstanceOf(RateLimitError)
  })
})

describe('whoever goes away', () => {
  test('in a stream frees everything', async () => {
    const stream = client.messages.stream({ model: served.model, max_tokens: 500, messages })
    stream.on('text', () => stream.abort())
    await expect(stream.finalMessage()).rejects.toBeInstanceOf(APIUserAbortError)
    await served.idle()
  })

  test('before the answer gets an APIUserAbortError', async () => {
    const controller = new AbortController()
    const asked = client.messages.create(
      { model: served.model, max_tokens: 500, messages },
      { signal: controller.signal }
    )
    setImmediate(() => controller.abort())
    await expect(asked).rejects.toBeInstanceOf(APIUserAbortError)
    await served.idle()
  })
})
