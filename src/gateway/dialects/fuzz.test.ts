import fc from 'fast-check'
import { expect, test } from 'vitest'
import type { z } from 'zod'
import { endEvent, play, START, TestGateway, textEvent } from '../testing.ts'
import { chatRequest } from './chat-request.ts'
import { completionRequest } from './completions.ts'
import { countRequest, messagesRequest } from './messages-request.ts'
import { anthropicErrorReply, errorReply } from './replies.ts'
import { responsesRequest } from './responses-request.ts'

const SEED = 20_261_121
/** Of each endpoint: 10,000 in all. */
const RUNS = 2_000

/** As deep as a body is long, which few parsers expect. */
const DEEP = `${'{"a":['.repeat(6_000)}${']}'.repeat(6_000)}`
const DEEP_HERE = 'deep here'
const toText = (value: unknown): string => JSON.stringify(value).replaceAll(`"${DEEP_HERE}"`, DEEP)
const part = fc.record(
  {
    type: fc.constantFrom('text', 'image_url', 'tool_use', 'tool_result', 'thinking', '__proto__'),
    text: fc.string()
  },
  { requiredKeys: [] }
)
const message = fc.record(
  {
    role: fc.constantFrom('user', 'assistant', 'system', 'tool', 'function', 'constructor'),
    content: fc.oneof(fc.string({ unit: 'binary' }), fc.array(part, { maxLength: 3 })),
    type: fc.constantFrom('message', 'function_call', 'reasoning', 'x'),
    tool_calls: fc.array(fc.jsonValue({ maxDepth: 3 }), { maxLength: 2 })
  },
  { requiredKeys: [] }
)
const hostile = fc.oneof(
  fc.jsonValue({ maxDepth: 4 }),
  fc.constantFrom<unknown>(
    DEEP_HERE,
    [DEEP_HERE],
    1e308,
    -1e308,
    2 ** 53,
    -1,
    0,
    0.5,
    '',
    null,
    [],
    {},
    [[]],
    [{}],
    {
      type: 'function'
    }
  ),
  fc.array(message, { maxLength: 3 }),
  fc.dictionary(fc.string(), fc.jsonValue({ maxDepth: 2 }))
)

const ends = [{ role: 'user', content: 'Hello?' }]
const endpoints: readonly [path: string, schema: z.ZodObject, valid: Record<string, unknown>][] = [
  ['/v1/chat/completions', chatRequest, { model: 'tiny', messages: ends }],
  ['/v1/completions', completionRequest, { model: 'tiny', prompt: 'Once' }],
  ['/v1/responses', responsesRequest, { model: 'tiny', input: ends }],
  ['/v1/messages', messagesRequest, { model: 'tiny', max_tokens: 9, messages: ends }],
  ['/v1/messages/count_tokens', countRequest, { model: 'tiny', messages: ends }]
]

test.each(endpoints)('%s: whatever comes is answered or refused', async (path, schema, valid) => {
  const gateway = new TestGateway(play(START, textEvent('Hi'), endEvent()))
  const fields = fc.dictionary(fc.constantFrom(...Object.keys(schema.shape)), hostile, { maxKeys: 3 })
  const body = fc.oneof(
    { weight: 8, arbitrary: fields.map((some) => toText({ ...valid, ...some })) },
    { weight: 1, arbitrary: hostile.map(toText) },
    { weight: 1, arbitrary: fc.string({ unit: 'binary' }) }
  )
  let answered = 0
  const property = fc.asyncProperty(body, async (text) => {
    const response = await gateway.post(path, text)
    const reply = await response.text()
    if (response.status === 200) answered++
    else {
      expect([400, 404]).toContain(response.status)
      const { error } = (path.includes('messages') ? anthropicErrorReply : errorReply).parse(
        JSON.parse(reply)
      )
      expect(error.message).not.toMatch(/ at .*:\d+:\d+|node_modules/)
    }
  })
  await fc.assert(property, { seed: SEED, numRuns: RUNS })
  expect(gateway.logged).toEqual([])
  expect(gateway.answers.running).toBe(0)
  expect(gateway.released).toBe(gateway.admitted)
  expect(answered).toBeGreaterThan(RUNS / 50)
})
