/** Whatever comes, the gateway answers: never with a crash, never with a 500. */
import fc from 'fast-check'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { CHAT, Served } from './server-testing.ts'

const SEED = 6
const CONNECTIONS = 20
const REQUESTS = 10_000

let served: Served

beforeAll(async () => {
  served = new Served({ maxBodyBytes: 64 * 1024, headersMs: 2_000, requestMs: 2_000, maxConnections: 10_000 })
  await served.gateway.start()
})
afterAll(() => served.gateway.stop())

const ASKED = [
  ...[
    '/v1/chat/completions',
    '/v1/completions',
    '/v1/responses',
    '/v1/messages',
    '/v1/messages/count_tokens'
  ],
  ...['/v1/chat/completions?x=%zz', '/v1/embeddings']
]
const READ = [
  ...[
    '/v1/models',
    '/v1/models/tiny',
    '/v1/models/%2e%2e%2f',
    '/v1/models/a/b?c=%zz',
    '/api/swarm',
    '/api/swarm?%'
  ],
  ...['/health', '/', '/metrics', '/v1/%ff', '//', '/v1/chat/completions/', '/api/swarm?stream']
]
const ANY = ['GET', 'POST', 'PUT', 'DELETE', 'HEAD', 'OPTIONS', 'PATCH', 'TRACE']
const target = fc.oneof(
  { weight: 7, arbitrary: fc.tuple(fc.constant('POST'), fc.constantFrom(...ASKED)) },
  { weight: 1, arbitrary: fc.tuple(fc.constant('GET'), fc.constantFrom(...READ)) },
  { weight: 1, arbitrary: fc.tuple(fc.constantFrom(...ANY), fc.constantFrom(...ASKED, ...READ)) }
)
const headerValue = fc.oneof(
  fc.constantFrom(
    'localhost',
    'application/json',
    'Bearer x',
    '*/*',
    'null',
    '0',
    '-1',
    '9'.repeat(40),
    'gzip',
    '1'
  ),
  fc.string({
    unit: fc.integer({ min: 33, max: 255 }).map((code) => String.fromCharCode(code)),
    maxLength: 60
  })
)
const headerName = fc.constantFrom(
  ...[
    'origin',
    'accept',
    'authorization',
    'x-api-key',
    'x-request-id',
    'content-type',
    'content-encoding',
    'cookie'
  ],
  ...[
    'x-forwarded-for',
    'forwarded',
    'expect',
    'range',
    'if-none-match',
    'upgrade',
    'anthropic-version',
    'x-shoal-details'
  ]
)

/** Values for fields that are meant, or nearly so. */
const FIELDS = [
  ...[
    'model',
    'messages',
    'prompt',
    'input',
    'max_tokens',
    'max_completion_tokens',
    'max_output_tokens',
    'stop'
  ],
  ...[
    'temperature',
    'top_p',
    'top_k',
    'min_p',
    'n',
    'seed',
    'stream',
    'stream_options',
    'logit_bias',
    'logprobs'
  ],
  ...[
    'top_logprobs',
    'tools',
    'tool_choice',
    'parallel_tool_calls',
    'response_format',
    'reasoning_effort',
    'user'
  ],
  ...['system', 'thinking', 'text', 'reasoning', 'suffix', 'echo', 'grammar', '__proto__', 'constructor']
]
const scalar = fc.oneof(
  fc.constantFrom<unknown>(
    null,
    true,
    0,
    -1,
    1,
    1e308,
    2 ** 53,
    '',
    'tiny',
    'user',
    'auto',
    '\u0000',
    '\ud800'
  ),
  fc.string({ unit: 'binary', maxLength: 20 }),
  fc.double()
)
const near = fc.oneof(
  scalar,
  fc.array(scalar, { maxLength: 4 }),
  fc.constantFrom<unknown>(
    [{ role: 'user', content: 'Hi' }],
    [{ role: 'tool', content: 'Hi', tool_call_id: 'x' }],
    [
      {
        type: 'function',
        function: { name: 'f', parameters: { type: 'object', properties: { a: { $ref: '#' } } } }
      }
    ],
    { type: 'json_schema', json_schema: { name: 'a', schema: { type: 'array', items: { $ref: '#/x' } } } },
    { type: 'json_object' },
    { include_usage: true }
  ),
  fc.jsonValue({ maxDepth: 4 })
)
const meant = fc
  .dictionary(fc.constantFrom(...FIELDS), near, { maxKeys: 6, noNullPrototype: true })
  .map((fields) => JSON.stringify({ ...CHAT, prompt: 'Hi', input: 'Hi', max_tokens: 5, ...fields }))
const body = fc.oneof(
  { weight: 6, arbitrary: meant.map((text) => Buffer.from(text)) },
  { weight: 1, arbitrary: fc.json({ maxDepth: 6 }).map((text) => Buffer.from(text)) },
  { weight: 1, arbitrary: fc.uint8Array({ maxLength: 300 }).map((bytes) => Buffer.from(bytes)) },
  {
    weight: 1,
    arbitrary: fc.tuple(meant, fc.nat({ max: 40 })).map(([text, cut]) => Buffer.from(text.slice(0, cut)))
  }
)

interface Sent {
  readonly bytes: Buffer
}

const request: fc.Arbitrary<Sent> = fc
  .record({
    target,
    headers: fc.array(fc.tuple(headerName, headerValue), { maxLength: 3 }),
    body,
    isTyped: fc.nat({ max: 9 }).map((number) => number > 0),
    lies: fc.nat({ max: 60 }).map((number) => (number > 1 ? 0 : number * 2 - 1))
  })
  .map(({ target: [method, path], headers, body, isTyped, lies }) => {
    const all = [
      ['host', 'localhost'],
      ['connection', 'close'],
      ...(isTyped || headers.length === 0 ? [['content-type', 'application/json']] : []),
      ['content-length', `${Math.max(0, body.length + lies)}`],
      ...headers
    ]
    const head = all.map(([name, value]) => `${name}: ${value}\r\n`).join('')
    return {
      bytes: Buffer.concat([Buffer.from(`${method} ${path} HTTP/1.1\r\n${head}\r\n`, 'latin1'), body])
    }
  })
const garbage: fc.Arbitrary<Sent> = fc
  .tuple(
    request,
    fc.array(fc.tuple(fc.nat({ max: 400 }), fc.nat({ max: 255 })), { minLength: 1, maxLength: 5 })
  )
  .map(([{ bytes }, changes]) => {
    const changed = Buffer.from(bytes)
    for (const [at, byte] of changes) if (at < changed.length) changed[at] = byte
    return { bytes: changed }
  })

test(`${REQUESTS} requests of all kinds`, { timeout: 170_000 }, async () => {
  const kinds = fc.oneof({ weight: 4, arbitrary: request }, { weight: 1, arbitrary: garbage })
  const sent = fc.sample(kinds, { numRuns: REQUESTS, seed: SEED })
  const statuses = new Map<string, number>()
  const ask = async (): Promise<void> => {
    for (let next = sent.pop(); next !== undefined; next = sent.pop()) {
      const { socket, said } = await served.open()
      // Some say that more comes than does, or listen to events without end.
      const impatient = setTimeout(() => socket.destroy(), 300)
      socket.write(next.bytes)
      const status = /^HTTP\/1\.1 (\d+)/.exec(await said)?.[1] ?? 'none'
      clearTimeout(impatient)
      socket.destroy()
      statuses.set(status, (statuses.get(status) ?? 0) + 1)
      if (status === '500') expect.fail(`500 for ${JSON.stringify(next.bytes.toString('latin1'))}`)
    }
  }
  await Promise.all(Array.from({ length: CONNECTIONS }, ask))
  expect(served.log.filter(({ level }) => level === 'error')).toEqual([])
  expect((await served.post('/v1/chat/completions', CHAT)).status).toBe(200)
  while (served.answers.running > 0) await new Promise(setImmediate)
  expect(await served.metric('shoal_gateway_places_taken')).toBe(0)
  // It reached what it is about.
  for (const status of ['200', '400', '404', '405']) expect(statuses.get(status) ?? 0).toBeGreaterThan(100)
})
