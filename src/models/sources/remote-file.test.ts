import { randomBytes } from 'node:crypto'
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import fc from 'fast-check'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { type Fault, TestHub } from '../../../test/hub.ts'
import { SourceError } from './errors.ts'
import { HttpClient, type HttpInit } from './http.ts'
import { RemoteFile } from './remote-file.ts'

const CONTENT = randomBytes(400_000)
const REPOSITORY = 'user/repo'
let folder: string
let hub: TestHub
/** Milliseconds that were waited for, without waiting. */
let waits: number[]

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'shoal-remote-'))
  await mkdir(join(folder, REPOSITORY), { recursive: true })
  await writeFile(join(folder, REPOSITORY, 'model.gguf'), CONTENT)
  await writeFile(join(folder, REPOSITORY, 'small'), CONTENT.subarray(0, 10))
  await writeFile(join(folder, REPOSITORY, 'empty'), '')
})

beforeEach(async () => {
  waits = []
  hub = await TestHub.start({ folder })
})

afterEach(() => hub.close())
afterAll(() => rm(folder, { recursive: true, force: true }))

function client(init: HttpInit = {}): HttpClient {
  const wait = async (ms: number): Promise<void> => void waits.push(ms)
  return new HttpClient({ endpoint: hub.endpoint, wait, random: () => 0, ...init })
}

function open(http = client(), file = 'model.gguf', signal?: AbortSignal): Promise<RemoteFile> {
  return RemoteFile.open(http, hub.url(REPOSITORY, file), signal)
}

describe('a remote file', () => {
  test('gives exact ranges, and its size with the first of them', async () => {
    const file = await open()
    expect(file.size).toBe(CONTENT.byteLength)
    for (const [offset, length] of [
      [0, 10],
      [70_000, 1],
      [60_000, 10_000],
      [399_999, 1],
      [0, 400_000],
      [5, 0]
    ] as const) {
      expect(Buffer.compare(await file.read(offset, length), CONTENT.subarray(offset, offset + length))).toBe(
        0
      )
    }
    await expect(file.read(399_999, 2)).rejects.toThrow(RangeError)
  })

  test('asks nothing again for what came with its size', async () => {
    const http = client()
    const file = await open(http)
    await file.read(100, 65_000)
    expect(hub.requests).toHaveLength(1)
    expect(http.bytesReceived).toBe(65_536)
  })

  test('may be smaller than what is asked for at first', async () => {
    const file = await open(client(), 'small')
    expect(Buffer.compare(await file.read(0, 10), CONTENT.subarray(0, 10))).toBe(0)
    await expect(open(client(), 'empty')).rejects.toMatchObject({ code: 'RANGE' })
  })

  test.each<[string, Fault]>([
    ['429', { status: 429, headers: { 'retry-after': '1' } }],
    ['500', { status: 500 }],
    ['503', { status: 503 }],
    ['a reset', { resetAfter: 0 }],
    ['a reset in mid-body', { resetAfter: 100_000 }],
    ['a body that is too short', { short: 1_000 }]
  ])('survives %s', async (_, fault) => {
    const file = await open()
    hub.fail(fault, { times: 3 })
    const bytes = await file.read(70_000, 320_000)
    expect(Buffer.compare(bytes, CONTENT.subarray(70_000, 390_000))).toBe(0)
    expect(waits).toHaveLength(3)
  })

  test('goes on where it broke off', async () => {
    const http = client()
    const file = await open(http)
    hub.fail({ resetAfter: 200_000 })
    await file.read(70_000, 320_000)
    const [, , again] = hub.requests
    const [, from = 0] = /^bytes=(\d+)-389999$/.exec(again?.range ?? '') ?? []
    expect(Number(from)).toBeGreaterThan(70_000)
    expect(http.bytesReceived).toBe(65_536 + 320_000)
  })

  test('waits as long as it is told to, and twice as long after each failure', async () => {
    const file = await open()
    hub.fail({ status: 429, headers: { 'retry-after': '7' } })
    hub.fail({ status: 500 }, { times: 2 })
    await file.read(70_000, 10)
    expect(waits).toEqual([7_000, 1_000, 2_000])
  })

  test.each<[string, Fault, string, RegExp]>([
    ['busy for an hour', { status: 429, headers: { 'retry-after': '3600' } }, 'BUSY', /in 3600 s/],
    ['missing', { status: 404 }, 'NOT_FOUND', /check the spelling/],
    ['private', { status: 401 }, 'UNAUTHORISED', /set HF_TOKEN/],
    [
      'gated',
      { status: 403, headers: { 'x-error-code': 'GatedRepo' } },
      'FORBIDDEN',
      /accept its licence at http:\/\/127\.0\.0\.1:\d+\/user\/repo, then set HF_TOKEN/
    ],
    ['shorter now', { status: 416 }, 'RANGE', /has become shorter/],
    ['given whole only', { whole: true }, 'NO_RANGES', /whole files only/],
    ['replaced', { headers: { etag: '"other"' } }, 'CHANGED', /replaced/],
    ['of another size', { headers: { 'content-range': 'bytes 70000-70009/5000000' } }, 'CHANGED', /replaced/],
    ['another range', { headers: { 'content-range': 'bytes 0-9/400000' } }, 'ANSWER', /other bytes/],
    ['a range that is none', { headers: { 'content-range': 'bytes 1-0/*' } }, 'ANSWER', /does not say/],
    ['compressed', { headers: { 'content-encoding': 'zstd-or-so' } }, 'ANSWER', /other bytes/],
    ['nonsense', { status: 418 }, 'ANSWER', /status 418/]
  ])('that is %s is an error at once', async (_, fault, code, message) => {
    const file = await open()
    hub.fail(fault)
    const reading = file.read(70_000, 10)
    await expect(reading).rejects.toMatchObject({ code })
    await expect(reading).rejects.toThrow(message)
    expect(waits).toEqual([])
    expect(Buffer.compare(await file.read(70_000, 10), CONTENT.subarray(70_000, 70_010))).toBe(0)
  })

  test('that ignores ranges is not read to its end', async () => {
    hub.fail({ whole: true, silentAfter: 10 })
    await expect(open()).rejects.toMatchObject({ code: 'NO_RANGES' })
  })

  test('is given up after some failures in a row', async () => {
    const file = await open()
    hub.fail({ status: 500 }, { times: 100 })
    await expect(file.read(70_000, 10)).rejects.toThrow(/status 500, try again later/)
    expect(waits).toEqual([500, 1_000, 2_000, 4_000, 8_000])
  })

  test('is asked anew when it falls silent', async () => {
    const file = await open(client({ stallMs: 50 }))
    hub.fail({ silentAfter: 1_000 })
    const bytes = await file.read(70_000, 100_000)
    expect(Buffer.compare(bytes, CONTENT.subarray(70_000, 170_000))).toBe(0)
    expect(waits).toHaveLength(1)
  })

  test('of a server that is gone says so', async () => {
    const http = client()
    const file = await open(http)
    await hub.close()
    await expect(file.read(70_000, 10)).rejects.toMatchObject({ code: 'NETWORK' })
    expect(waits).toHaveLength(5)
    const everywhere = file.name.replace('127.0.0.1', 'localhost')
    await expect(RemoteFile.open(http, everywhere)).rejects.toThrow(/ECONNREFUSED/)
    hub = await TestHub.start({ folder })
  })

  test('is left when the signal fires, in mid-body and in a wait', async () => {
    const stop = new AbortController()
    const file = await open()
    hub.fail({ silentAfter: 1_000 })
    const reading = file.stream(70_000, 100_000, stop.signal, () => stop.abort(new Error('enough')))
    await expect(reading).rejects.toThrow('enough')
    const inWait = new AbortController()
    const waiting = client({ wait: async () => inWait.abort(new Error('waited enough')) })
    hub.fail({ status: 500 })
    await expect(open(waiting, 'model.gguf', inWait.signal)).rejects.toThrow('waited enough')
    await expect(file.read(70_000, 10, AbortSignal.abort(new Error('before')))).rejects.toThrow('before')
  })
})

test('whatever goes wrong, what is read is right, or an error that Shoal made', async () => {
  const fault: fc.Arbitrary<Fault> = fc.oneof(
    fc.record({ status: fc.constantFrom(301, 400, 403, 404, 416, 429, 500, 503) }),
    fc.record({ resetAfter: fc.nat(60_000) }),
    fc.record({ short: fc.nat(9_000) }),
    fc.constant<Fault>({ whole: true }),
    fc.record({ headers: fc.record({ etag: fc.constantFrom('"other"', `"${CONTENT.byteLength}"`) }) }),
    fc.record({
      headers: fc.record({ 'content-range': fc.stringMatching(/^bytes \d{1,5}-\d{1,5}\/\d{1,6}$/) })
    })
  )
  const property = fc.asyncProperty(
    fc.array(fault, { maxLength: 8 }),
    fc.nat(300_000),
    async (faults, offset) => {
      for (const each of faults) hub.fail(each)
      try {
        const bytes = await (await open()).read(offset, 90_000)
        expect(Buffer.compare(bytes, CONTENT.subarray(offset, offset + 90_000))).toBe(0)
      } catch (error) {
        expect(error).toBeInstanceOf(SourceError)
      }
      hub.heal()
    }
  )
  await fc.assert(property, { seed: 31, numRuns: 300 })
})

describe('redirects', () => {
  let signed: TestHub
  beforeEach(async () => {
    signed = await TestHub.start({ folder, signed: true, token: 'secret' })
  })
  afterEach(() => signed.close())

  async function openSigned(init: HttpInit = {}): Promise<RemoteFile> {
    const http = client({ endpoint: signed.endpoint, token: 'secret', ...init })
    return RemoteFile.open(http, signed.url(REPOSITORY, 'model.gguf'))
  }

  test('are followed once, and only the hub sees the token', async () => {
    const file = await openSigned()
    await file.read(70_000, 10)
    await file.read(80_000, 10)
    expect(signed.requests.map(({ server, authorization }) => [server, authorization])).toEqual([
      ['hub', 'Bearer secret'],
      ...Array(3).fill(['cdn', undefined])
    ])
  })

  test('are followed anew when the signature has expired', async () => {
    const file = await openSigned()
    signed.expire()
    expect(Buffer.compare(await file.read(70_000, 10), CONTENT.subarray(70_000, 70_010))).toBe(0)
    expect(signed.requests.map(({ server }) => server)).toEqual(['hub', 'cdn', 'cdn', 'hub', 'cdn'])
    expect(waits).toEqual([])
  })

  test('to what is refused say so', async () => {
    const file = await openSigned()
    signed.fail({ status: 403 }, { times: 2 })
    await expect(file.read(70_000, 10)).rejects.toMatchObject({ code: 'FORBIDDEN' })
  })

  test('go where the node may ask only', async () => {
    const mayAsk = ({ origin }: URL): boolean => origin === signed.endpoint
    await expect(openSigned({ mayAsk })).rejects.toMatchObject({ code: 'URL' })
    expect(signed.requests.map(({ server }) => server)).toEqual(['hub'])
  })

  test.each(['file:///etc/passwd', 'http://user:password@127.0.0.1/', 'http://'])(
    'to %s are refused',
    async (to) => {
      hub.fail({ status: 302, headers: { location: to } })
      await expect(open()).rejects.toMatchObject({ code: 'URL' })
    }
  )

  test('without an end are refused', async () => {
    hub.fail({ status: 302, headers: { location: '/again' } }, { times: 100 })
    await expect(open()).rejects.toThrow(/without an end/)
    expect(hub.requests).toHaveLength(6)
  })
})

test('a wrong token is told from none', async () => {
  const strict = await TestHub.start({ folder, token: 'secret' })
  const url = strict.url(REPOSITORY, 'model.gguf')
  const { endpoint } = strict
  await expect(RemoteFile.open(client({ endpoint }), url)).rejects.toThrow(/set HF_TOKEN to a token/)
  await expect(RemoteFile.open(client({ endpoint, token: 'wrong' }), url)).rejects.toThrow(/check HF_TOKEN/)
  // To any other server there is nothing to say.
  await expect(RemoteFile.open(client({ token: 'secret' }), url)).rejects.toThrow(/at the hub only/)
  expect(strict.requests.at(-1)?.authorization).toBeUndefined()
  await strict.close()
})
