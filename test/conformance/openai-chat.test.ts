/** The official client of OpenAI: chat completions, completions and models. */
import OpenAI, {
  APIUserAbortError,
  AuthenticationError,
  BadRequestError,
  InternalServerError,
  NotFoundError,
  RateLimitError
} from 'openai'
import { zodFunction, zodResponseFormat } from 'openai/helpers/zod'
import type { ChatCompletionMessageParam } from 'openai/resources/chat/completions'
import type { CompletionUsage } from 'openai/resources/completions'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { z } from 'zod'
import { type Served, serve } from './gateway.ts'

let served: Served
let client: OpenAI
const messages: ChatCompletionMessageParam[] = [{ role: 'user', content: 'Tell me of the sea.' }]

beforeAll(async () => {
  served = await serve()
  client = new OpenAI({ baseURL: `${served.url}/v1`, apiKey: served.key, maxRetries: 0 })
})

afterAll(() => served.stop())

function expectUsage(usage: CompletionUsage | undefined, most: number): void {
  expect(usage?.prompt_tokens).toBeGreaterThan(0)
  expect(usage?.completion_tokens).toBeGreaterThan(0)
  expect(usage?.completion_tokens).toBeLessThanOrEqual(most)
  expect(usage?.total_tokens).toBe((usage?.prompt_tokens ?? 0) + (usage?.completion_tokens ?? 0))
  expect(usage?.prompt_tokens_details?.cached_tokens).toBeLessThanOrEqual(usage?.prompt_tokens ?? 0)
  expect(usage?.completion_tokens_details?.reasoning_tokens).toBeLessThanOrEqual(
    usage?.completion_tokens ?? 0
  )
}

describe('chat', () => {
  test('an answer has a text, an end and usage', async () => {
    const { data, response } = await client.chat.completions
      .create({ model: served.model, messages, max_completion_tokens: 16 })
      .withResponse()
    expect(data.id).toMatch(/^chatcmpl-/)
    expect(data.object).toBe('chat.completion')
    expect(data.model).toBe(served.model)
    expect(data.choices).toHaveLength(1)
    expect(data.choices[0]?.message).toMatchObject({ role: 'assistant', refusal: null })
    expect(['stop', 'length']).toContain(data.choices[0]?.finish_reason)
    expectUsage(data.usage, 16)
    expect(response.headers.get('x-request-id')).toBeTruthy()
  })

  test('an answer without room ends for length', async () => {
    const answer = await client.chat.completions.create({ model: served.model, messages, max_tokens: 1 })
    expect(answer.choices[0]?.finish_reason).toBe('length')
    expect(answer.usage?.completion_tokens).toBe(1)
  })

  test('a stream says the same as a whole answer, with a seed at temperature 0', async () => {
    const asked = { model: served.model, messages, max_tokens: 24, temperature: 0, seed: 7 }
    const whole = await client.chat.completions.create(asked)
    const stream = await client.chat.completions.create({
      ...asked,
      stream: true,
      stream_options: { include_usage: true }
    })
    let text = ''
    let usage: CompletionUsage | null | undefined
    const reasons: string[] = []
    for await (const chunk of stream) {
      text += chunk.choices[0]?.delta.content ?? ''
      usage = chunk.usage
      const reason = chunk.choices[0]?.finish_reason
      if (reason) reasons.push(reason)
    }
    expect(text).toBe(whole.choices[0]?.message.content)
    expect(reasons).toEqual([whole.choices[0]?.finish_reason])
    expect(usage?.completion_tokens).toBe(whole.usage?.completion_tokens)
    expectUsage(usage ?? undefined, 24)
  })

  test('the client’s own assembly of a stream is a completion', async () => {
    const runner = client.chat.completions.stream({ model: served.model, messages, max_tokens: 12 })
    const final = await runner.finalChatCompletion()
    expect(final.choices[0]?.message.content).toBeTypeOf('string')
  })

  test('a seed draws the same again, and each of n answers draws for itself', async () => {
    // Rows that are computed beside others differ in their last digits, which a hot draw may tell.
    const asked = { model: served.model, messages, max_tokens: 8, temperature: 0.2, seed: 11 }
    const ask = async (more = {}) => {
      const { choices, usage } = await client.chat.completions.create({ ...asked, ...more })
      expect(choices.map(({ index }) => index)).toEqual(choices.map((_, index) => index))
      return { usage, texts: choices.map(({ message }) => message.content) }
    }
    const [first] = (await ask()).texts
    expect((await ask()).texts).toEqual([first])
    const many = await ask({ n: 3, temperature: 2 })
    expect(new Set(many.texts).size).toBe(3)
    expectUsage(many.usage, 24)
  })

  test('n answers are streamed side by side', async () => {
    const stream = await client.chat.completions.create({
      model: served.model,
      messages,
      max_tokens: 8,
      n: 3,
      stream: true
    })
    const ends = new Map<number, string>()
    for await (const { choices } of stream) {
      for (const { index, finish_reason: reason } of choices) if (reason) ends.set(index, reason)
    }
    expect([...ends.keys()].toSorted()).toEqual([0, 1, 2])
  })

  test('stop strings never appear', async () => {
    const asked = { model: served.model, messages, max_tokens: 40, temperature: 0 }
    const text = (await client.chat.completions.create(asked)).choices[0]?.message.content ?? ''
    const stop = text.slice(3, 6) // across a border of tokens, as likely as not
    const stopped = await client.chat.completions.create({ ...asked, stop: ['never said', stop] })
    expect(stopped.choices[0]).toMatchObject({
      finish_reason: 'stop',
      message: { content: text.slice(0, text.indexOf(stop)) }
    })
    const stream = await client.chat.completions.create({ ...asked, stop, stream: true })
    let said = ''
    for await (const chunk of stream) said += chunk.choices[0]?.delta.content ?? ''
    expect(said).toBe(text.slice(0, text.indexOf(stop)))
  })

  test('log probabilities are those of the text', async () => {
    const asked = {
      model: served.model,
      messages,
      max_tokens: 6,
      temperature: 0,
      logprobs: true,
      top_logprobs: 3
    }
    const { choices } = await client.chat.completions.create(asked)
    const logs = choices[0]?.logprobs?.content ?? []
    expect(logs.length).toBeGreaterThan(0)
    const bytes = logs.flatMap((log) => log.bytes ?? [])
    expect(Buffer.from(bytes).toString()).toContain((choices[0]?.message.content ?? '').trim())
    for (const { logprob, top_logprobs: top } of logs) {
      expect(logprob).toBeLessThanOrEqual(0)
      expect(top).toHaveLength(3)
      expect(top.map((other) => other.logprob)).toEqual(
        top.map((other) => other.logprob).toSorted((a, b) => b - a)
      )
      expect(top[0]?.logprob).toBeCloseTo(logprob, 5) // the most likely one was drawn
    }
  })

  test('all other ways to sample are taken', async () => {
    const sampling = {
      temperature: 0.7,
      top_p: 0.9,
      frequency_penalty: 0.5,
      presence_penalty: 0.5,
      logit_bias: { 5: -100 }
    }
    const answer = await client.chat.completions.create({
      model: served.model,
      messages,
      max_tokens: 8,
      ...sampling
    })
    expectUsage(answer.usage, 8)
    const more = { top_k: 40, min_p: 0.05, repeat_penalty: 1.1 }
    const other = await client.chat.completions.create({
      model: served.model,
      messages,
      max_tokens: 8,
      ...more
    } as never)
    expect(other).toHaveProperty('choices')
  })

  test('reasoning is apart from the text', async () => {
    const answer = await client.chat.completions.create({
      model: served.model,
      messages,
      reasoning_effort: 'low',
      max_tokens: 64
    })
    expect(answer.choices[0]?.message.content).not.toMatch(/<\/?think>/)
  })
})

describe('structured output', () => {
  const Person = z.object({
    name: z.string().max(12),
    age: z.int(),
    tags: z.array(z.enum(['a', 'b'])).max(3),
    home: z.object({ town: z.string().max(12), isBig: z.boolean() }).nullable()
  })

  test('validates', async () => {
    const answer = await client.chat.completions.parse({
      model: served.model,
      messages,
      max_tokens: 400,
      seed: 1,
      response_format: zodResponseFormat(Person, 'person')
    })
    const [choice] = answer.choices
    if (choice?.finish_reason === 'stop') expect(Person.parse(choice.message.parsed)).toBeTruthy()
    else expect(choice?.finish_reason).toBe('length')
  })

  test('is an object with json_object', async () => {
    const answer = await client.chat.completions.create({
      model: served.model,
      messages,
      max_tokens: 400,
      seed: 1,
      response_format: { type: 'json_object' }
    })
    const [choice] = answer.choices
    if (choice?.finish_reason === 'stop')
      expect(JSON.parse(choice.message.content ?? '')).toBeTypeOf('object')
    else expect(choice?.finish_reason).toBe('length')
  })
})

describe('tools', () => {
  const Weather = z.object({ town: z.string().max(12), unit: z.enum(['C', 'F']) })
  const weather = zodFunction({ name: 'weather', parameters: Weather, description: 'The weather in a town' })
  const named = { type: 'function', function: { name: 'weather' } } as const
  // Small models would go on calling until there is no room.
  const asked = { tools: [weather], seed: 3, max_tokens: 200, parallel_tool_calls: false }

  test('are called with arguments that validate, and the conversation goes on', async () => {
    const answer = await client.chat.completions.create({
      model: served.model,
      messages,
      ...asked,
      tool_choice: named
    })
    const [choice] = answer.choices
    expect(choice?.finish_reason).toBe('tool_calls')
    const [call] = choice?.message.tool_calls ?? []
    if (call?.type !== 'function') throw new Error('no function was called')
    expect(call.function.name).toBe('weather')
    expect(Weather.safeParse(JSON.parse(call.function.arguments)).error).toBeUndefined()
    const on = await client.chat.completions.create({
      model: served.model,
      messages: [
        ...messages,
        choice?.message as never,
        { role: 'tool', tool_call_id: call.id, content: '15 C' }
      ],
      tools: [weather],
      tool_choice: 'none',
      max_tokens: 16
    })
    expect(on.choices[0]?.message.tool_calls).toBeUndefined()
    expect(on.choices[0]?.message.content).toBeTypeOf('string')
  })

  test('are called in streams, and the client puts the parts together', async () => {
    const runner = client.chat.completions.stream({
      model: served.model,
      messages,
      ...asked,
      tool_choice: 'required'
    })
    const final = await runner.finalChatCompletion()
    const calls = final.choices[0]?.message.tool_calls ?? []
    expect(calls.length).toBeGreaterThan(0)
    for (const call of calls) expect(Weather.parse(JSON.parse(call.function.arguments))).toBeTruthy()
  })

  test('are called one at a time if that was asked', async () => {
    const two = [weather, zodFunction({ name: 'tides', parameters: Weather })]
    const answer = await client.chat.completions.create({
      model: served.model,
      messages,
      ...asked,
      tools: two,
      tool_choice: 'required'
    })
    expect(answer.choices[0]?.message.tool_calls).toHaveLength(1)
  })
})

describe('completions', () => {
  test('go on with each prompt', async () => {
    const answer = await client.completions.create({
      model: served.model,
      prompt: ['The sea', 'The sky'],
      n: 2,
      max_tokens: 5
    })
    expect(answer.id).toMatch(/^cmpl-/)
    expect(answer.choices.map(({ index }) => index)).toEqual([0, 1, 2, 3])
    expectUsage(answer.usage, 20)
  })

  test('repeat the prompt, and stream the same', async () => {
    const asked = { model: served.model, prompt: 'The sea', max_tokens: 8, temperature: 0, echo: true }
    const whole = await client.completions.create(asked)
    expect(whole.choices[0]?.text.startsWith('The sea')).toBe(true)
    let text = ''
    for await (const chunk of await client.completions.create({ ...asked, stream: true })) {
      text += chunk.choices[0]?.text ?? ''
    }
    expect(text).toBe(whole.choices[0]?.text)
  })

  test('take tokens, and tell log probabilities in lists of one length', async () => {
    const answer = await client.completions.create({
      model: served.model,
      prompt: [1, 2, 3],
      max_tokens: 4,
      logprobs: 2
    })
    const logs = answer.choices[0]?.logprobs
    const lengths = [logs?.tokens, logs?.token_logprobs, logs?.top_logprobs, logs?.text_offset].map(
      (list) => list?.length
    )
    expect(new Set(lengths)).toEqual(new Set([logs?.tokens?.length]))
    expect(answer.usage?.prompt_tokens).toBe(3)
  })
})

test('models are listed and found', async () => {
  const ids: string[] = []
  for await (const model of client.models.list()) ids.push(model.id)
  expect(ids).toContain(served.model)
  expect((await client.models.retrieve(served.model)).id).toBe(served.model)
  await expect(client.models.retrieve('no/such')).rejects.toBeInstanceOf(NotFoundError)
})

describe('errors are the client’s typed ones:', () => {
  const ask = (fields: object, of = client) =>
    of.chat.completions.create({
      model: served.model,
      messages,
      max_tokens: 4,
      ...fields
    }) as Promise<unknown> as Promise<never>

  test('404 for unknown models', async () => {
    const error = await ask({ model: 'no/such' }).catch((caught) => caught)
    expect(error).toBeInstanceOf(NotFoundError)
    expect(error).toMatchObject({ code: 'model_not_found', param: 'model', type: 'invalid_request_error' })
    expect(error.requestID).toBeTruthy()
  })

  test('400 for fields that are wrong', async () => {
    const error = await ask({ temperature: 9 }).catch((caught) => caught)
    expect(error).toBeInstanceOf(BadRequestError)
    expect(error.param).toBe('temperature')
  })

  test.each([true, false])('400 for prompts that do not fit (streamed: %s)', async (stream) => {
    const long = [{ role: 'user', content: served.tooLong }]
    const error = await ask({ messages: long, stream }).catch((caught) => caught)
    expect(error).toBeInstanceOf(BadRequestError)
    expect(error.code).toBe('context_length_exceeded')
  })

  test('503 for models that are not covered, with the blocks and when to try again', async () => {
    const error = await ask({ model: served.holed }).catch((caught) => caught)
    expect(error).toBeInstanceOf(InternalServerError)
    expect(error).toMatchObject({
      status: 503,
      code: 'model_not_covered',
      message: expect.stringMatching(/block/)
    })
    expect(Number(error.headers.get('retry-after'))).toBeGreaterThan(0)
  })

  test('401 for wrong keys', async () => {
    const stranger = client.withOptions({ apiKey: 'sk-shoal-wrong' })
    await expect(ask({}, stranger)).rejects.toBeInstanceOf(AuthenticationError)
  })

  test('429 for too many requests, with when to try again', async () => {
    const limited = client.withOptions({ apiKey: served.limitedKey })
    await ask({}, limited)
    const error = await ask({}, limited).catch((caught) => caught)
    expect(error).toBeInstanceOf(RateLimitError)
    expect(Number(error.headers.get('retry-after'))).toBeGreaterThan(0)
  })

  test('501 for embeddings, without trying again', async () => {
    const patient = client.withOptions({ maxRetries: 5 })
    const error = await patient.embeddings
      .create({ model: served.model, input: 'x' })
      .catch((caught) => caught)
    expect(error.status).toBe(501)
  })
})

describe('whoever goes away', () => {
  test('in a stream frees everything', async () => {
    const stream = await client.chat.completions.create({ model: served.model, messages, stream: true })
    for await (const _ of stream) break
    await served.idle()
  })

  test('before the answer gets an APIUserAbortError', async () => {
    const controller = new AbortController()
    const asked = client.chat.completions.create(
      { model: served.model, messages, n: 4 },
      { signal: controller.signal }
    )
    setImmediate(() => controller.abort())
    await expect(asked).rejects.toBeInstanceOf(APIUserAbortError)
    await served.idle()
  })
})
