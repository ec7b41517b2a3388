/** LangChain's provider for OpenAI: chat, stream, tools, structured output. */
import { HumanMessage, SystemMessage, ToolMessage } from '@langchain/core/messages'
import { tool } from '@langchain/core/tools'
import { ChatOpenAI, OpenAI } from '@langchain/openai'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { z } from 'zod'
import { type Served, serve } from './gateway.ts'

let served: Served
const messages = [new SystemMessage('Be brief.'), new HumanMessage('Tell me of the sea.')]

beforeAll(async () => {
  served = await serve()
})

afterAll(() => served.stop())

function chat(fields: ConstructorParameters<typeof ChatOpenAI>[0] & object = {}): ChatOpenAI {
  const configuration = { baseURL: `${served.url}/v1` }
  return new ChatOpenAI({
    model: served.model,
    apiKey: served.key,
    configuration,
    maxRetries: 0,
    maxTokens: 24,
    ...fields
  })
}

test('chat', async () => {
  const answer = await chat().invoke(messages)
  expect(answer.text.length).toBeGreaterThan(0)
  const usage = answer.usage_metadata
  expect(usage?.total_tokens).toBe((usage?.input_tokens ?? 0) + (usage?.output_tokens ?? 0))
})

test.each([true, false])('stream (responses: %s)', async (useResponsesApi) => {
  const model = chat({ temperature: 0, useResponsesApi })
  const whole = await model.invoke(messages)
  let text = ''
  for await (const chunk of await model.stream(messages)) text += chunk.text
  expect(text).toBe(whole.text)
})

const Weather = z.object({ town: z.string().max(12), unit: z.enum(['C', 'F']) })
const weather = tool(async () => '15 C', { name: 'weather', description: 'The weather', schema: Weather })

test.each([true, false])('tools (responses: %s)', async (useResponsesApi) => {
  const model = chat({ maxTokens: 200, useResponsesApi })
  const answer = await model
    .bindTools([weather], { tool_choice: 'weather', parallel_tool_calls: false })
    .invoke(messages)
  const [call] = answer.tool_calls ?? []
  expect(call?.name).toBe('weather')
  expect(Weather.safeParse(call?.args).error).toBeUndefined()
  const result = new ToolMessage({ tool_call_id: call?.id ?? '', content: '15 C' })
  const on = await model.invoke([...messages, answer, result])
  expect(on.text.length).toBeGreaterThan(0)
})

test.each(['jsonSchema', 'functionCalling'] as const)('structured output by %s', async (method) => {
  const Person = z.object({ name: z.string().max(12), tags: z.array(z.enum(['a', 'b'])).max(3) })
  const model = chat({ maxTokens: 400 }).withStructuredOutput(Person, { name: 'person', method })
  expect(Person.safeParse(await model.invoke(messages)).error).toBeUndefined()
})

test('completions', async () => {
  const configuration = { baseURL: `${served.url}/v1` }
  const model = new OpenAI({
    model: served.model,
    apiKey: served.key,
    configuration,
    maxRetries: 0,
    maxTokens: 8
  })
  expect((await model.invoke('The sea')).length).toBeGreaterThan(0)
})

test('errors keep their status', async () => {
  await expect(chat({ model: 'no/such' }).invoke(messages)).rejects.toMatchObject({ status: 404 })
  await expect(chat({ model: served.holed }).invoke(messages)).rejects.toMatchObject({ status: 503 })
})
