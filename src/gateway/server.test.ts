import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, describe, expect, test } from 'vitest'
import { KeyStore } from './keys.ts'
import { CHAT, ENDLESS, Served } from './server-testing.ts'
import type { GatewayInit } from './settings.ts'
import { endEvent, parseEvents, type Script, START, textEvent } from './testing.ts'

let served: Served
const cleaning: (() => void)[] = []

afterEach(async () => {
  await served.gateway.stop()
  for (const clean of cleaning.splice(0)) clean()
})

async function serve(init?: GatewayInit, script?: Script): Promise<Served> {
  served = new Served(init, script)
  await served.gateway.start()
  return served
}

/** A status, and what the error is called. */
async function refusal(answer: Promise<Response>): Promise<[status: number, code: string]> {
  const response = await answer
  const { error } = (await response.json()) as { error: { code: string } }
  return [response.status, error.code]
}

describe('routes', () => {
  test('a chat is answered, and is one line in the log without its text', async () => {
    await serve()
    const response = await served.post('/v1/chat/completions', CHAT, {
      headers: { 'x-request-id': 'mine-1', authorization: 'Bearer sk-secret' }
    })
    expect(response.status).toBe(200)
    expect(response.headers.get('x-request-id')).toBe('mine-1')
    const body = (await response.json()) as { choices: { message: { content: string } }[] }
    expect(body.choices[0]?.message.content).toBe('Hello')
    const entry = await served.logged(({ event }) => event === 'request')
    expect(entry).toMatchObject({
      ...{ id: 'mine-1', owner: 'local', route: '/v1/chat/completions', status: 200, position: 0 },
      answers: [
        {
          ...{ outcome: 'stop', model: 'demo/tiny', tokens: 5 },
          timings: { chainMs: 2 },
          guesses: { guessed: 6, right: 4 },
          hops: [{ peer: 'a', queueMs: 1 }]
        }
      ]
    })
    expect(JSON.stringify(entry)).not.toMatch(/Hello|Hi|sk-secret/)
    const kind = 'shoal_gateway_tokens_total{model="demo/tiny",kind="answer"}'
    expect(await served.metric(kind)).toBe(3)
    const guesses = ['right', 'wrong'].map((each) => {
      return served.metric(`shoal_gateway_guesses_total{model="demo/tiny",kind="${each}"}`)
    })
    expect(await Promise.all(guesses)).toEqual([4, 2])
    expect(await served.metric('shoal_gateway_first_token_seconds_count')).toBe(1)
  })

  test('request ids that others would trip over are replaced, and so are those in use', async () => {
    await serve({}, ENDLESS)
    const one = await served.post(
      '/v1/chat/completions',
      { ...CHAT, stream: true },
      { headers: { 'x-request-id': 'a' } }
    )
    const ids = await Promise.all(
      ['a', 'x y', 'x'.repeat(200)].map(async (id) => {
        const response = await served.fetch('/health', { headers: { 'x-request-id': id } })
        return response.headers.get('x-request-id')
      })
    )
    expect(one.headers.get('x-request-id')).toBe('a')
    for (const id of ids) expect(id).toMatch(/^[0-9a-f-]{36}$/)
    await one.body?.cancel()
  })

  test('what is not there is 404, another method is 405 and says which', async () => {
    await serve()
    expect(await refusal(served.fetch('/v1/nothing'))).toEqual([404, 'not_found'])
    expect(await refusal(served.post('/v1/models', {}))).toEqual([405, 'method_not_allowed'])
    const wrong = await served.fetch('/v1/chat/completions')
    expect(wrong.status).toBe(405)
    expect(wrong.headers.get('allow')).toBe('POST')
  })

  test('health says why it is not ready', async () => {
    await serve()
    expect((await served.fetch('/health')).status).toBe(200)
    served.swarm.reason = 'nobody hosts anything'
    const response = await served.fetch('/health')
    expect(response.status).toBe(503)
    expect(await response.json()).toMatchObject({ reason: 'nobody hosts anything' })
  })

  test('the front page tells the base URL', async () => {
    await serve()
    expect(await (await served.fetch('/')).text()).toContain(`${served.gateway.url}/v1`)
  })

  test('a failure that nobody foresaw is told in the log only', async () => {
    const leak = 'secret-path'
    await serve({}, () => {
      throw new Error(leak)
    })
    const response = await served.post('/v1/chat/completions', CHAT, {
      headers: { 'x-request-id': 'broken' }
    })
    expect(response.status).toBe(500)
    const body = await response.text()
    expect(body).not.toMatch(/secret-path|at .*\.ts/)
    const failure = await served.logged(({ level }) => level === 'error')
    expect(failure).toMatchObject({ message: 'request broken failed' })
    expect(JSON.stringify(failure)).toContain(leak)
  })

  test('the swarm is told as JSON, and as events when it has changed', async () => {
    await serve()
    expect(await (await served.fetch('/api/swarm')).json()).toMatchObject({
      self: { peer: 'me' },
      gateway: { answering: 0, waiting: 0, tokensPerSecond: 0 }
    })
    const response = await served.fetch('/api/swarm', { headers: { accept: 'text/event-stream' } })
    const reader = (response.body as ReadableStream<Uint8Array>).getReader()
    const next = async (): Promise<unknown> => {
      const { value } = await reader.read()
      return parseEvents(new TextDecoder().decode(value))[0]
    }
    expect(await next()).toMatchObject({ name: 'swarm', data: { self: { placement: '' } } })
    served.swarm.placement = 'moving'
    expect(await next()).toMatchObject({ name: 'swarm', data: { self: { placement: 'moving' } } })
    await reader.cancel()
    await served.logged((entry) => entry.event === 'request' && entry.ms > 500)
  })

  test('listeners are bounded', async () => {
    await serve()
    const streams = await Promise.all(
      Array.from({ length: 65 }, () =>
        served.fetch('/api/swarm?stream', { headers: { connection: 'close' } })
      )
    )
    expect(streams.map(({ status }) => status).toSorted()).toEqual([...Array(64).fill(200), 503])
    await Promise.all(streams.map(({ body }) => body?.cancel()))
  })
})

describe('who may ask', () => {
  const headersOf = (host: string, origin?: string): string =>
    `GET /health HTTP/1.1\r\nhost: ${host}\r\n${origin === undefined ? '' : `origin: ${origin}\r\n`}connection: close\r\n\r\n`
  const statusFor = async (host: string, origin?: string): Promise<number> =>
    Number((await served.raw(headersOf(host, origin))).split(' ')[1])

  test('a local gateway answers to its own names, whoever rebinds theirs', async () => {
    await serve({ names: ['shoal.lan'] })
    for (const host of ['localhost', 'LOCALHOST:1', '127.0.0.1:8642', '[::1]:80', 'shoal.lan']) {
      expect([host, await statusFor(host)]).toEqual([host, 200])
    }
    for (const host of [
      'evil.example',
      '127.0.0.1.evil.example',
      'localhost.',
      '',
      'a b',
      '[::2]',
      '10.0.0.1'
    ]) {
      expect([host, [400, 403].includes(await statusFor(host))]).toEqual([host, true])
    }
  })

  test('pages of other origins are refused', async () => {
    await serve({ corsOrigins: ['https://chat.example'] })
    for (const origin of ['http://localhost:3000', 'http://[::1]', 'https://chat.example']) {
      expect([origin, await statusFor('localhost', origin)]).toEqual([origin, 200])
    }
    for (const origin of [
      'https://evil.example',
      'null',
      'http://chat.example',
      'file://',
      'x',
      'http://localhost.evil'
    ]) {
      expect([origin, await statusFor('localhost', origin)]).toEqual([origin, 403])
    }
  })

  test('preflights of allowed pages are answered', async () => {
    await serve({ corsOrigins: ['https://chat.example'] })
    const ask = (origin: string): Promise<Response> =>
      served.fetch('/v1/chat/completions', {
        method: 'OPTIONS',
        headers: {
          origin,
          'access-control-request-method': 'POST',
          'access-control-request-headers': 'authorization,content-type'
        }
      })
    const allowed = await ask('https://chat.example')
    expect(allowed.status).toBe(204)
    expect(allowed.headers.get('access-control-allow-origin')).toBe('https://chat.example')
    expect(allowed.headers.get('access-control-allow-headers')).toContain('authorization')
    const refused = await ask('https://evil.example')
    expect(refused.status).toBe(403)
    expect(refused.headers.get('access-control-allow-origin')).toBeNull()
  })

  test('a public gateway answers to any name, and to pages that were named', async () => {
    await serve({ isPublic: true, corsOrigins: ['*'] })
    expect(await statusFor('shoal.example', 'https://chat.example')).toBe(200)
  })

  test('bodies of other types are refused: pages send those without asking', async () => {
    await serve()
    for (const type of ['text/plain', 'application/x-www-form-urlencoded']) {
      const response = await served.post('/v1/chat/completions', CHAT, { headers: { 'content-type': type } })
      expect(response.status).toBe(400)
    }
  })

  test('metrics are for this machine, a setting, or a key', async () => {
    await serve()
    expect(await (await served.fetch('/metrics')).text()).toContain('shoal_gateway_connections 1')
    await served.gateway.stop()
    await serve({ isPublic: true })
    expect(await refusal(served.fetch('/metrics'))).toEqual([401, 'invalid_api_key'])
    await served.gateway.stop()
    await serve({ isPublic: true, openMetrics: true })
    expect((await served.fetch('/metrics')).status).toBe(200)
  })
})

describe('keys and limits', () => {
  function keysFile(): string {
    const folder = mkdtempSync(join(tmpdir(), 'shoal-gateway-'))
    cleaning.push(() => rmSync(folder, { recursive: true }))
    return join(folder, 'keys.db')
  }
  const bearer = (secret: string): RequestInit => ({ headers: { authorization: `Bearer ${secret}` } })

  test('keys are taken from both headers, and revoked ones end at once', async () => {
    const path = keysFile()
    const store = new KeyStore(path)
    const { secret, key } = store.create('app', {}, 0)
    await serve({ keysFile: path, isPublic: true })
    expect((await served.fetch('/v1/models', bearer(secret))).status).toBe(200)
    expect((await served.fetch('/v1/models', { headers: { 'x-api-key': secret } })).status).toBe(200)
    expect((await served.fetch('/metrics', bearer(secret))).status).toBe(200)
    expect(await refusal(served.fetch('/v1/models'))).toEqual([401, 'invalid_api_key'])
    expect(await refusal(served.fetch('/v1/models', bearer('sk-other')))).toEqual([401, 'invalid_api_key'])
    store.revoke(key.id, 1)
    store.close()
    expect(await refusal(served.fetch('/v1/models', bearer(secret)))).toEqual([401, 'invalid_api_key'])
    expect(served.log.some((entry) => entry.event === 'request' && entry.owner === `key:${key.id}`)).toBe(
      true
    )
    expect(JSON.stringify(served.log)).not.toContain(secret)
  })

  test('where one may ask without, only what looks like a key has to be good', async () => {
    await serve({ keysFile: keysFile(), anonymous: true, isPublic: true })
    expect((await served.fetch('/v1/models')).status).toBe(200)
    expect((await served.fetch('/v1/models', bearer('none'))).status).toBe(200)
    expect(await refusal(served.fetch('/v1/models', bearer('sk-shoal-wrong')))).toEqual([
      401,
      'invalid_api_key'
    ])
  })

  test('headers change nothing about whose limits count', async () => {
    await serve({ isPublic: true, addressLimits: { requestsPerMinute: 3 } })
    const statuses: number[] = []
    for (let turn = 0; turn < 12; turn++) {
      const address = `198.51.100.${turn}`
      const headers = {
        'x-forwarded-for': address,
        forwarded: `for=${address}`,
        'x-real-ip': address,
        'x-client-ip': address,
        'true-client-ip': address,
        'cf-connecting-ip': address,
        authorization: `Bearer none-${turn}`
      }
      statuses.push((await served.fetch('/v1/models', { headers })).status)
    }
    expect(statuses).toEqual([...Array(3).fill(200), ...Array(9).fill(429)])
  })

  test('behind a trusted proxy, its clients have their own', async () => {
    await serve({ isPublic: true, trustedProxies: ['127.0.0.1'], addressLimits: { requestsPerMinute: 1 } })
    const ask = async (forwarded: string): Promise<number> =>
      (await served.fetch('/v1/models', { headers: { 'x-forwarded-for': forwarded } })).status
    expect(await ask('203.0.113.1')).toBe(200)
    expect(await ask('203.0.113.2')).toBe(200)
    expect(await ask('198.51.100.9, 203.0.113.1')).toBe(429)
    expect(await ask('2001:db8:1:2::1')).toBe(200)
    expect(await ask('2001:db8:1:2:ffff::2')).toBe(429)
  })

  test('tokens of answers count, and 429 says when to come again', async () => {
    await serve({ isPublic: true, addressLimits: { tokensPerMinute: 10 } })
    expect((await served.post('/v1/chat/completions', CHAT)).status).toBe(200)
    const response = await served.post('/v1/chat/completions', CHAT)
    expect(response.status).toBe(429)
    expect(Number(response.headers.get('retry-after'))).toBeGreaterThan(50)
    expect(await served.metric('shoal_gateway_refused_total{reason="limited"}')).toBe(1)
  })

  test('wrong keys are counted against their address', async () => {
    await serve({ keysFile: keysFile(), isPublic: true, addressLimits: { requestsPerMinute: 2 } })
    const statuses: number[] = []
    for (let turn = 0; turn < 4; turn++) {
      statuses.push((await served.fetch('/v1/models', bearer(`sk-shoal-${turn}`))).status)
    }
    expect(statuses).toEqual([401, 401, 429, 429])
  })

  test('a key has limits of its own', async () => {
    const path = keysFile()
    const store = new KeyStore(path)
    const small = store.create('small', { requestsPerMinute: 1 }, 0).secret
    const plain = store.create('plain', {}, 0).secret
    store.close()
    await serve({ keysFile: path, keyLimits: { requestsPerMinute: 2 } })
    const ask = async (secret: string): Promise<number> =>
      (await served.fetch('/v1/models', bearer(secret))).status
    expect([await ask(small), await ask(small)]).toEqual([200, 429])
    expect([await ask(plain), await ask(plain), await ask(plain)]).toEqual([200, 200, 429])
  })
})

describe('starting and stopping', () => {
  test('where any port will do, one that is taken is none to fail for', async () => {
    const { port, gateway: first } = await serve()
    cleaning.push(() => void first.stop())
    await serve({ port, anyPort: true })
    expect(served.port).not.toBe(port)
    expect((await served.fetch('/health')).status).toBe(200)
  })

  test('a port that is taken is told with what to do', async () => {
    await serve()
    const other = new Served({ port: served.port })
    await expect(other.gateway.start()).rejects.toMatchObject({
      code: 'LISTEN',
      message: expect.stringContaining('--port')
    })
    await other.gateway.stop()
  })

  test('running answers end by themselves when there is time', async () => {
    const { promise: said, resolve: say } = Promise.withResolvers<void>()
    await serve({ drainMs: 10_000 }, async function* () {
      yield START
      await said
      yield textEvent('Bye')
      yield endEvent()
    })
    const answer = served.post('/v1/chat/completions', CHAT)
    while (served.answers.running === 0) await new Promise(setImmediate)
    const stopped = served.gateway.stop()
    say()
    expect((await answer).status).toBe(200)
    await stopped
  })

  test('those that do not are cut off', async () => {
    await serve({ drainMs: 50 }, ENDLESS)
    const response = await served.post('/v1/chat/completions', { ...CHAT, stream: true })
    await served.gateway.stop()
    expect(await response.text()).toContain('stopping')
    expect(served.answers.running).toBe(0)
  })
})
