import { once } from 'node:events'
import { afterEach, describe, expect, test } from 'vitest'
import { CHAT, ENDLESS, Served } from './server-testing.ts'
import type { GatewayInit } from './settings.ts'
import { endEvent, type Script, START, textEvent } from './testing.ts'

let served: Served

afterEach(() => served.gateway.stop())

async function serve(init?: GatewayInit, script?: Script): Promise<Served> {
  served = new Served(init, script)
  await served.gateway.start()
  return served
}

/** A request in bytes; `length`: what it says of its body. */
function bytesOf(body: string | Uint8Array, length?: number, path = '/v1/chat/completions'): Buffer {
  const bytes = Buffer.from(body)
  const head = [
    `POST ${path} HTTP/1.1`,
    'host: localhost',
    'connection: close',
    'content-type: application/json',
    `content-length: ${length ?? bytes.length}`
  ]
  return Buffer.concat([Buffer.from(`${head.join('\r\n')}\r\n\r\n`), bytes])
}

function statusOf(answer: string): number {
  return Number(/^HTTP\/1\.1 (\d+)/.exec(answer)?.[1])
}

/** It is as well as before. */
async function expectWell(): Promise<void> {
  expect((await served.post('/v1/chat/completions', CHAT)).status).toBe(200)
  expect(await served.metric('shoal_gateway_places_taken')).toBe(0)
  expect(served.log.filter(({ level }) => level === 'error')).toEqual([])
}

describe('bytes', () => {
  test.each([
    ['too much', () => bytesOf(`"${'x'.repeat(3_000)}"`), 413, 'request_too_large'],
    ['too much is said', () => bytesOf('', 1e12), 413, 'request_too_large'],
    ['deep arrays', () => bytesOf('['.repeat(1_500)), 400, 'nests deeper'],
    ['deep objects', () => bytesOf('{"a":'.repeat(300)), 400, 'nests deeper'],
    ['no JSON', () => bytesOf('{"model":'), 400, 'not JSON'],
    ['nothing', () => bytesOf(''), 400, 'not JSON'],
    ['invalid UTF-8', () => bytesOf(new Uint8Array([0x22, 0xff, 0xfe, 0x22])), 400, 'not JSON in UTF-8'],
    ['no object', () => bytesOf('null'), 400, 'invalid_request_error'],
    ['many headers', () => `GET / HTTP/1.1\r\nhost: localhost\r\n${'x-a: b\r\n'.repeat(5_000)}\r\n`, 431, ''],
    [
      'one long header',
      () => `GET / HTTP/1.1\r\nhost: localhost\r\nx-a: ${'b'.repeat(20_000)}\r\n\r\n`,
      431,
      ''
    ],
    ['a long target', () => `GET /${'a'.repeat(20_000)} HTTP/1.1\r\nhost: localhost\r\n\r\n`, 431, ''],
    ['no HTTP', () => '\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03', 400, 'no HTTP request'],
    ['no host', () => 'GET / HTTP/1.1\r\n\r\n', 400, ''],
    [
      'two lengths',
      () => 'POST /v1/models HTTP/1.1\r\nhost: localhost\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nab',
      400,
      ''
    ],
    [
      'a length beside chunks',
      () =>
        'POST / HTTP/1.1\r\nhost: localhost\r\ncontent-length: 4\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n',
      400,
      ''
    ],
    [
      'a target that is none',
      () => 'GET http://[ HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n',
      400,
      ''
    ],
    ['backslashes', () => 'GET /\\..\\x HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n', 400, ''],
    ['a tunnel', () => 'CONNECT localhost:22 HTTP/1.1\r\nhost: localhost\r\n\r\n', Number.NaN, '']
  ])('%s', async (_, make, status, text) => {
    await serve({ maxBodyBytes: 2_048 })
    const answer = await served.raw(make())
    expect(statusOf(answer)).toBe(status)
    expect(answer).toContain(text)
    expect(answer).not.toMatch(/\bat .*\.(ts|js):/)
    await expectWell()
  })

  test('garbage behind a request does not spoil its answer', async () => {
    await serve()
    const answer = await served.raw(
      Buffer.concat([
        Buffer.from('GET /health HTTP/1.1\r\nhost: localhost\r\n\r\n'),
        Buffer.from('\x00\x01 garbage\r\n\r\n')
      ])
    )
    expect(answer.match(/HTTP\/1\.1 \d+/g)).toContain('HTTP/1.1 400')
    await expectWell()
  })

  test('garbage behind a request whose answer is on its way cuts it off, and frees all', async () => {
    await serve({}, ENDLESS)
    const { socket, said } = await served.open()
    socket.write(
      `POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: ${Buffer.byteLength(
        JSON.stringify({ ...CHAT, stream: true })
      )}\r\n\r\n${JSON.stringify({ ...CHAT, stream: true })}`
    )
    await once(socket, 'data')
    socket.write('\x00\x01 garbage\r\n\r\n')
    expect((await said).match(/HTTP\/1\.1 \d+/g)).toEqual(['HTTP/1.1 200'])
    await served.logged((entry) => entry.event === 'request' && entry.status === 499)
    while (served.answers.running > 0) await new Promise(setImmediate)
  })

  test('a body in many chunks is bounded, too', async () => {
    await serve({ maxBodyBytes: 2_048 })
    const chunk = `400\r\n${'x'.repeat(1_024)}\r\n`
    const answer = await served.raw(
      `POST /v1/completions HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n${chunk.repeat(4)}`
    )
    expect(statusOf(answer)).toBe(413)
    await expectWell()
  })
})

test('bodies together are bounded, and give back what they took', async () => {
  await serve({ maxBodiesBytes: 3_000 })
  const { socket } = await served.open()
  socket.write(bytesOf('x'.repeat(2_000), 2_500))
  const many = bytesOf('y'.repeat(2_000))
  let answer = await served.raw(many)
  while (statusOf(answer) !== 503) answer = await served.raw(many) // until the first one's bytes have been read
  expect(answer).toContain('retry-after')
  socket.destroy()
  await served.logged((entry) => entry.event === 'request' && entry.status === 499)
  expect(statusOf(await served.raw(many))).toBe(400)
  await expectWell()
})

describe('slowness', () => {
  const slow = { headersMs: 200, requestMs: 300 }

  test('headers that dribble are cut off', async () => {
    await serve(slow)
    const { socket, said } = await served.open()
    socket.write('GET /health HTTP/1.1\r\nhost: localhost\r\n')
    const dribble = setInterval(() => socket.writable && socket.write('x-a: b\r\n'), 20)
    const answer = await said
    clearInterval(dribble)
    expect(statusOf(answer)).toBe(408)
    socket.destroy()
    await expectWell()
  })

  test('bodies that dribble are cut off', async () => {
    await serve(slow)
    const { socket, said } = await served.open()
    socket.write(bytesOf('{', 1_000))
    const dribble = setInterval(() => socket.writable && socket.write(' '), 20)
    const answer = await said
    clearInterval(dribble)
    expect(statusOf(answer)).toBe(408)
    socket.destroy()
    await expectWell()
  })

  test('connections that say nothing are cut off', async () => {
    await serve(slow)
    const { said } = await served.open()
    expect(statusOf(await said)).toBe(408)
    await expectWell()
  })

  test('a body that breaks off frees all', async () => {
    await serve()
    const { socket } = await served.open()
    socket.write(bytesOf('{', 1_000))
    socket.end()
    await served.logged((entry) => entry.event === 'request' && entry.status !== 200)
    await expectWell()
  })

  test('a reader that takes nothing is cut off', async () => {
    const flood: Script = async function* (_, { signal }) {
      yield START
      while (!signal.aborted) {
        yield textEvent('x'.repeat(65_536))
        await new Promise(setImmediate)
      }
      signal.throwIfAborted()
    }
    await serve({ stallMs: 200 }, flood)
    const { socket } = await served.open()
    socket.pause()
    socket.write(bytesOf(JSON.stringify({ ...CHAT, stream: true })))
    await served.logged((entry) => entry.event === 'request' && entry.status === 499)
    while (served.answers.running > 0) await new Promise(setImmediate)
    expect(await served.metric('shoal_gateway_places_taken')).toBe(0)
    socket.destroy()
  })
})

describe('many', () => {
  test('an address has so many connections, and others are not held up', async () => {
    await serve({ isPublic: true, connectionsPerAddress: 4 })
    const held = await Promise.all(Array.from({ length: 4 }, () => served.open()))
    const { said } = await served.open()
    const answer = await said
    expect(statusOf(answer)).toBe(429)
    expect(answer).toContain('retry-after: 5')
    for (const { socket } of held) socket.destroy()
    while ((await served.metric('shoal_gateway_connections')) > 0) await new Promise(setImmediate)
    await expectWell()
  })

  test('a thousand beyond the queue are told when to come again', async () => {
    const { promise: gate, resolve: open } = Promise.withResolvers<void>()
    await serve({ concurrency: 2, queue: 10 }, async function* () {
      yield START
      await gate
      yield textEvent('Done')
      yield endEvent()
    })
    const first = Array.from({ length: 12 }, () => served.post('/v1/chat/completions', CHAT))
    while ((await served.metric('shoal_gateway_queue_length')) < 10) await new Promise(setImmediate)
    const beyond = await Promise.all(
      Array.from({ length: 1_000 }, async () => {
        const response = await served.post('/v1/chat/completions', CHAT)
        const { error } = (await response.json()) as { error: { code: string } }
        return `${response.status} ${error.code} ${Number(response.headers.get('retry-after')) > 0}`
      })
    )
    expect(new Set(beyond)).toEqual(new Set(['503 overloaded true']))
    open()
    for (const answer of first) expect((await answer).status).toBe(200)
    expect(served.answers.asked).toHaveLength(12)
  })
})

describe('whoever goes away', () => {
  const second = (since: number): void => expect(performance.now() - since).toBeLessThan(1_000)

  test('frees an answer that streams', async () => {
    await serve({}, ENDLESS)
    const controller = new AbortController()
    const { signal } = controller
    await served.post('/v1/chat/completions', { ...CHAT, stream: true }, { signal })
    expect(served.answers.running).toBe(1)
    const since = performance.now()
    controller.abort()
    const entry = await served.logged(({ event }) => event === 'request')
    while (served.answers.running > 0) await new Promise(setImmediate)
    second(since)
    expect(entry).toMatchObject({ status: 499, answers: [{ outcome: 'gone', tokens: 1 }] })
    expect(await served.metric('shoal_gateway_places_taken')).toBe(0)
  })

  test('frees an answer that does not', async () => {
    await serve({}, ENDLESS)
    const controller = new AbortController()
    const answer = served.post('/v1/chat/completions', CHAT, { signal: controller.signal })
    while (served.answers.running === 0) await new Promise(setImmediate)
    const since = performance.now()
    controller.abort()
    await expect(answer).rejects.toThrow()
    while (served.answers.running > 0) await new Promise(setImmediate)
    second(since)
    expect(await served.metric('shoal_gateway_places_taken')).toBe(0)
  })

  test('leaves the queue', async () => {
    await serve({ concurrency: 1 }, ENDLESS)
    const first = await served.post('/v1/chat/completions', { ...CHAT, stream: true })
    const controller = new AbortController()
    const answer = served.post('/v1/chat/completions', CHAT, { signal: controller.signal })
    while ((await served.metric('shoal_gateway_queue_length')) === 0) await new Promise(setImmediate)
    const since = performance.now()
    controller.abort()
    await expect(answer).rejects.toThrow()
    while ((await served.metric('shoal_gateway_queue_length')) > 0) await new Promise(setImmediate)
    second(since)
    expect(served.answers.asked).toHaveLength(1)
    await first.body?.cancel()
  })

  test('a half-closed connection counts as gone', async () => {
    await serve({}, ENDLESS)
    const { socket } = await served.open()
    socket.write(bytesOf(JSON.stringify({ ...CHAT, stream: true })))
    await once(socket, 'data')
    const since = performance.now()
    socket.end()
    await served.logged(({ event }) => event === 'request')
    while (served.answers.running > 0) await new Promise(setImmediate)
    second(since)
    socket.destroy()
  })
})
