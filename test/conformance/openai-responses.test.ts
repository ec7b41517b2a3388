/** The official client of OpenAI: responses. */
import OpenAI, { BadRequestError, NotFoundError } from 'openai'
import { zodResponsesFunction, zodTextFormat } from 'openai/helpers/zod'
import type { Response, ResponseStreamEvent } from 'openai/resources/responses/responses'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { z } from 'zod'
import { type Served, serve } from './gateway.ts'

let served: Served
let client: OpenAI
const input = 'Tell me of the sea.'

beforeAll(async () => {
  served = await serve()
  client = new OpenAI({ baseURL: `${served.url}/v1`, apiKey: served.key, maxRetries: 0 })
})

afterAll(() => served.stop())

function expectUsage({ usage }: Response): void {
  expect(usage?.input_tokens).toBeGreaterThan(0)
  expect(usage?.total_tokens).toBe((usage?.input_tokens ?? 0) + (usage?.output_tokens ?? 0))
}

test('a response has a text and usage', async () => {
  const response = await client.responses.create({
    model: served.model,
    input,
    instructions: 'Be brief.',
    max_output_tokens: 16
  })
  expect(['completed', 'incomplete']).toContain(response.status)
  expect(response.output_text.length).toBeGreaterThan(0)
  expect(response).toMatchObject({ store: false })
  expectUsage(response)
})

test('a response without room is incomplete', async () => {
  const response = await client.responses.create({ model: served.model, input, max_output_tokens: 1 })
  expect(response).toMatchObject({
    status: 'incomplete',
    incomplete_details: { reason: 'max_output_tokens' }
  })
})

describe('a stream', () => {
  test('is numbered, and says what a whole response says', async () => {
    const asked = { model: served.model, input, temperature: 0, max_output_tokens: 24 }
    const whole = await client.responses.create(asked)
    const events: ResponseStreamEvent[] = []
    for await (const event of await client.responses.create({ ...asked, stream: true })) events.push(event)
    expect(events.map((event) => event.sequence_number)).toEqual([...events.keys()])
    expect(events.slice(0, 2).map(({ type }) => type)).toEqual(['response.created', 'response.in_progress'])
    const deltas = events.flatMap((event) =>
      event.type === 'response.output_text.delta' ? [event.delta] : []
    )
    expect(deltas.join('')).toBe(whole.output_text)
    const last = events.at(-1)
    if (last?.type !== 'response.completed' && last?.type !== 'response.incomplete')
      throw new Error(last?.type)
    expect(last.response.status).toBe(whole.status)
    expectUsage(last.response)
  })

  test('is put together by the client', async () => {
    const final = await client.responses
      .stream({ model: served.model, input, max_output_tokens: 12 })
      .finalResponse()
    expect(final.output_text.length).toBeGreaterThan(0)
  })
})

test('structured output validates', async () => {
  const Town = z.object({ name: z.string(), size: z.enum(['small', 'large']) })
  const response = await client.responses.parse({
    model: served.model,
    input,
    max_output_tokens: 400,
    text: { format: zodTextFormat(Town, 'town') }
  })
  if (response.status === 'completed') expect(Town.parse(response.output_parsed)).toBeTruthy()
})

test('functions are called, and the conversation goes on without a store', async () => {
  const Weather = z.object({ town: z.string() })
  const tools = [zodResponsesFunction({ name: 'weather', parameters: Weather })]
  const first = await client.responses.create({ model: served.model, input, tools, tool_choice: 'required' })
  const call = first.output.find((item) => item.type === 'function_call')
  if (call === undefined) throw new Error('no function was called')
  expect(Weather.safeParse(JSON.parse(call.arguments)).error).toBeUndefined()
  const second = await client.responses.create({
    model: served.model,
    input: [
      { role: 'user', content: input },
      ...first.output,
      { type: 'function_call_output', call_id: call.call_id, output: '15 C' }
    ] as never,
    tools,
    tool_choice: 'none',
    max_output_tokens: 12
  })
  expect(second.output_text.length).toBeGreaterThan(0)
})

test('errors are the client’s typed ones', async () => {
  const ask = (fields: object) =>
    client.responses.create({ model: served.model, input, ...fields }) as Promise<unknown> as Promise<never>
  await expect(ask({ model: 'no/such' })).rejects.toBeInstanceOf(NotFoundError)
  await expect(ask({ previous_response_id: 'resp_1' })).rejects.toBeInstanceOf(BadRequestError)
  await expect(ask({ tools: [{ type: 'web_search' }] })).rejects.toMatchObject({ param: 'tools[0].type' })
})

test('whoever stops reading frees everything', async () => {
  for await (const _ of await client.responses.create({ model: served.model, input, stream: true })) break
  await served.idle()
})
