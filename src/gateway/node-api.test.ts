import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { ShoalError } from '../common/index.ts'
import type { NodeControl, NodeReport } from './node-control.ts'
import { HELLO, Served } from './server-testing.ts'
import type { GatewayInit } from './settings.ts'
import { parseEvents } from './testing.ts'

const PAGE = { 'x-shoal-page': '1' }

let served: Served
/** What the node was asked for, in order. */
let asked: unknown[]
let peer: string
let failure: Error | undefined

beforeEach(() => {
  asked = []
  peer = 'me'
  failure = undefined
})

afterEach(() => served.gateway.stop())

/** Notes what it is called with. */
const control = new Proxy({} as NodeControl, {
  get: (_, name) => {
    if (name === 'report') return async () => ({ peer, models: [], pulls: [] }) as unknown as NodeReport
    return async (...given: unknown[]) => {
      if (failure !== undefined) throw failure
      asked.push([name, ...given.filter((each) => !(each instanceof AbortSignal))])
      return { name }
    }
  }
})

async function serve(init: GatewayInit = {}): Promise<void> {
  served = new Served(init, HELLO, control)
  await served.gateway.start()
}

async function send(
  method: string,
  path: string,
  body?: unknown,
  headers: Record<string, string> = PAGE
): Promise<[number, unknown]> {
  const response = await served.fetch(`/api/node${path}`, {
    method,
    headers: { ...(body !== undefined && { 'content-type': 'application/json' }), ...headers },
    body: body === undefined ? null : JSON.stringify(body)
  })
  return [response.status, await response.json()]
}

describe('calls', () => {
  beforeEach(() => serve())

  test.each([
    ['POST', '/share', { on: true, memoryBytes: 5 }, ['share', { on: true, memoryBytes: 5 }]],
    ['POST', '/pause', {}, ['pause']],
    ['POST', '/resume', {}, ['resume']],
    ['POST', '/finish', {}, ['finish']],
    ['PATCH', '/settings', { threads: 2, schedule: null }, ['change', { threads: 2, schedule: null }]],
    ['PATCH', '/models/ab', { seed: false }, ['seed', 'ab', false]],
    ['DELETE', '/models/pull-1', undefined, ['remove', 'pull-1']]
  ])('%s %s is answered with how the node is then', async (method, path, body, call) => {
    expect(await send(method, path, body)).toEqual([200, { peer: 'me', models: [], pulls: [] }])
    expect(asked).toEqual([call])
  })

  test.each([
    ['POST', '/models', { name: ' demo ' }, 202, ['pull', { name: 'demo' }]],
    ['POST', '/invite', { uses: 2 }, 200, ['invite', { uses: 2 }]],
    ['POST', '/join', { token: 'shoal1x' }, 200, ['join', { token: 'shoal1x' }]],
    ['POST', '/leave', {}, 200, ['leave']],
    ['GET', '/logs?lines=7', undefined, 200, ['logs', 7]],
    ['GET', '/logs?lines=1000000', undefined, 200, ['logs', 5_000]]
  ])('%s %s is answered by the node', async (method, path, body, status, call) => {
    expect(await send(method, path, body)).toEqual([status, { name: call[0] }])
    expect(asked).toEqual([call])
  })

  test('what it has on disk, and fetches', async () => {
    expect(await send('GET', '/models')).toEqual([200, { models: [], pulls: [] }])
  })

  test('the report comes as events when it has changed', async () => {
    const response = await served.fetch('/api/node', { headers: { accept: 'text/event-stream' } })
    const reader = (response.body as ReadableStream<Uint8Array>)
      .pipeThrough(new TextDecoderStream())
      .getReader()
    const first = (await reader.read()).value ?? ''
    peer = 'me, changed'
    const second = (await reader.read()).value ?? ''
    await reader.cancel()
    const events = parseEvents(first + second)
    expect(events.map(({ name, data }) => [name, (data as NodeReport).peer])).toEqual([
      ['node', 'me'],
      ['node', 'me, changed']
    ])
  })
})

describe('refused', () => {
  test.each([
    ['an unknown setting', 'PATCH', '/settings', { cpu: 5 }],
    ['a week of six days', 'PATCH', '/settings', { schedule: [[], [], [], [], [], []] }],
    ['no decision', 'POST', '/share', {}],
    ['lines below one', 'GET', '/logs?lines=0', undefined]
  ])('%s', async (_, method, path, body) => {
    await serve()
    expect((await send(method, path, body))[0]).toBe(400)
    expect(asked).toEqual([])
  })

  test('what the node refuses is told with its words', async () => {
    await serve()
    failure = new ShoalError('IN_USE', 'The model is in use: stop that first.')
    expect(await send('DELETE', '/models/ab')).toMatchObject([400, { error: { message: failure.message } }])
    failure = new ShoalError('MODEL', 'It is not there.')
    expect((await send('DELETE', '/models/ab'))[0]).toBe(404)
    failure = new Error('secret detail')
    expect(JSON.stringify(await send('DELETE', '/models/ab'))).not.toContain('secret')
  })

  test.each([
    ['without the header that only its pages send', {}],
    ['by a page of another server on this machine', { ...PAGE, origin: 'http://localhost:3000' }],
    ['by a page that may ask for answers', { ...PAGE, origin: 'https://chat.example.org' }],
    ['by a page without an origin of its own', { ...PAGE, origin: 'null' }]
  ])('changes %s', async (_, headers) => {
    await serve({ corsOrigins: ['https://chat.example.org'] })
    expect((await send('POST', '/share', { on: true }, headers))[0]).toBe(403)
    expect((await send('DELETE', '/models/ab', undefined, headers))[0]).toBe(403)
    expect(asked).toEqual([])
  })

  test('reading by other pages', async () => {
    await serve({ corsOrigins: ['*'] })
    const origin = 'https://elsewhere.example.org'
    expect((await send('GET', '', undefined, { origin }))[0]).toBe(403)
    expect((await send('GET', '', undefined, { origin: served.gateway.url }))[0]).toBe(200)
  })

  test('bodies that are not JSON', async () => {
    await serve()
    expect((await send('POST', '/share', { on: true }, { ...PAGE, 'content-type': 'text/plain' }))[0]).toBe(
      400
    )
  })

  test('all of it where strangers ask', async () => {
    await serve({ isPublic: true })
    expect((await send('GET', ''))[0]).toBe(404)
    expect((await send('POST', '/share', { on: true }))[0]).toBe(404)
    expect(asked).toEqual([])
  })
})
