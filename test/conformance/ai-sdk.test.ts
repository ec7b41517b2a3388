/** The Vercel AI SDK with its provider for OpenAI: chat, stream, tools, structured output. */
import { createOpenAI } from '@ai-sdk/openai'
import { APICallError, generateText, Output, stepCountIs, streamText, tool } from 'ai'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { z } from 'zod'
import { type Served, serve } from './gateway.ts'

let served: Served
const prompt = 'Tell me of the sea.'

beforeAll(async () => {
  served = await serve()
})

afterAll(() => served.stop())

describe.each(['chat', 'responses'] as const)('by %s', (dialect) => {
  const modelOf = (name = served.model) =>
    createOpenAI({ baseURL: `${served.url}/v1`, apiKey: served.key })[dialect](name)

  test('text', async () => {
    const { text, usage, finishReason } = await generateText({
      model: modelOf(),
      prompt,
      maxOutputTokens: 16
    })
    expect(text.length).toBeGreaterThan(0)
    expect(['stop', 'length']).toContain(finishReason)
    expect(usage.totalTokens).toBe((usage.inputTokens ?? 0) + (usage.outputTokens ?? 0))
  })

  test('stream', async () => {
    const asked = { model: modelOf(), prompt, maxOutputTokens: 24, temperature: 0, maxRetries: 0 }
    const whole = await generateText(asked)
    const stream = streamText(asked)
    let text = ''
    for await (const part of stream.textStream) text += part
    expect(text).toBe(whole.text)
    expect((await stream.usage).outputTokens).toBe(whole.usage.outputTokens)
  })

  test('tools, and what follows from them', async () => {
    const weather = tool({
      description: 'The weather in a town',
      inputSchema: z.object({ town: z.string().max(12) }),
      execute: async ({ town }) => `15 C in ${town}`
    })
    const { steps } = await generateText({
      model: modelOf(),
      prompt,
      tools: { weather },
      providerOptions: { openai: { parallelToolCalls: false } },
      maxOutputTokens: 200,
      prepareStep: ({ stepNumber }) => ({ toolChoice: stepNumber === 0 ? 'required' : 'none' }),
      stopWhen: stepCountIs(2)
    })
    expect(steps[0]?.toolResults[0]?.output).toMatch(/^15 C in /)
    expect(steps[1]?.text.length).toBeGreaterThan(0)
  })

  test('structured output', async () => {
    const schema = z.object({ name: z.string().max(12), tags: z.array(z.enum(['a', 'b'])).max(3) })
    const { output } = await generateText({
      model: modelOf(),
      prompt,
      output: Output.object({ schema }),
      maxOutputTokens: 400
    })
    expect(schema.safeParse(output).error).toBeUndefined()
  })

  test('errors keep their status', async () => {
    const error = await generateText({ model: modelOf('no/such'), prompt, maxRetries: 0 }).catch(
      (caught) => caught
    )
    expect(APICallError.isInstance(error)).toBe(true)
    expect(error).toMatchObject({ statusCode: 404, isRetryable: false })
    const holed = await generateText({ model: modelOf(served.holed), prompt, maxRetries: 0 }).catch(
      (caught) => caught
    )
    expect(holed).toMatchObject({ statusCode: 503, isRetryable: true })
  })

  test('whoever aborts frees everything', async () => {
    const controller = new AbortController()
    const stream = streamText({ model: modelOf(), prompt, abortSignal: controller.signal, onError: () => {} })
    for await (const _ of stream.textStream) {
      controller.abort()
      break
    }
    await served.idle()
  })
})
