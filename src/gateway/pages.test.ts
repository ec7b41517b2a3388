import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { pages } from './pages.ts'
import { Served } from './server-testing.ts'

let folder: string
let served: Served

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'shoal-pages-'))
})

afterEach(async () => {
  await served.gateway.stop()
  rmSync(folder, { recursive: true, force: true })
})

async function serve(files: Record<string, string>): Promise<void> {
  mkdirSync(join(folder, 'assets'))
  for (const [name, text] of Object.entries(files)) writeFileSync(join(folder, name), text)
  served = new Served({ pages: pages(folder) })
  await served.gateway.start()
}

const BUILT = { 'index.html': '<html>', 'theme.js': 'theme', 'assets/a-1b2c.js': 'code' }

test.each(['/', '/swarm', '/node', '/start', '/c/1234'])(
  '%s is the page, asked for anew each time',
  async (path) => {
    await serve(BUILT)
    const response = await served.fetch(path)
    expect([response.status, await response.text()]).toEqual([200, '<html>'])
    expect(response.headers.get('content-type')).toBe('text/html; charset=utf-8')
    expect(response.headers.get('cache-control')).toBe('no-cache')
  }
)

test('nothing of elsewhere runs, loads or frames it', async () => {
  await serve(BUILT)
  const { headers } = await served.fetch('/')
  const policy = headers.get('content-security-policy') ?? ''
  expect(policy).toMatch(/^default-src 'none'; script-src 'self'; /)
  expect(policy).not.toMatch(/unsafe|https?:|\*/)
  for (const one of ["frame-ancestors 'none'", "base-uri 'none'", "form-action 'none'"])
    expect(policy).toContain(one)
  expect(headers.get('x-content-type-options')).toBe('nosniff')
  expect(headers.get('referrer-policy')).toBe('no-referrer')
})

test('files whose names have a hash are kept for good, others are not', async () => {
  await serve(BUILT)
  expect((await served.fetch('/assets/a-1b2c.js')).headers.get('cache-control')).toContain('immutable')
  expect((await served.fetch('/theme.js')).headers.get('cache-control')).toBe('no-cache')
})

test.each([
  ['gzip, deflate, br, zstd', 'br'],
  ['gzip', 'gzip'],
  ['br;q=0, gzip;q=0.5', 'gzip'],
  ['', null]
])('to who accepts "%s" it goes as %s', async (accepted, encoding) => {
  await serve({ ...BUILT, 'assets/a-1b2c.js.br': 'smallest', 'assets/a-1b2c.js.gz': 'small' })
  const answer = await served.raw(
    `GET /assets/a-1b2c.js HTTP/1.1\r\nhost: localhost\r\naccept-encoding: ${accepted}\r\nconnection: close\r\n\r\n`
  )
  const [head = '', body] = answer.split('\r\n\r\n')
  expect(/content-encoding: (\w+)/i.exec(head)?.[1] ?? null).toBe(encoding)
  expect(body).toContain(encoding === 'br' ? 'smallest' : encoding === 'gzip' ? 'small' : 'code')
  expect(head).toMatch(/vary: accept-encoding/i)
})

test.each(['/missing.js', '/assets/../../../etc/host.conf', '/%2e%2e/%2e%2e/package.json', '/index.html.br'])(
  '%s is nowhere',
  async (path) => {
    await serve({ ...BUILT, 'index.html.br': 'x' })
    const answer = await served.raw(`GET ${path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n`)
    expect(answer).toMatch(/^HTTP\/1.1 404/)
  }
)

test('what programs ask for and is not there is no page', async () => {
  await serve(BUILT)
  for (const path of ['/v1/nothing', '/api/nothing', '/api/node'])
    expect((await served.fetch(path)).status).toBe(404)
  expect((await served.post('/v1/nothing', {})).status).toBe(404)
  expect((await served.fetch('/node', { method: 'DELETE' })).status).toBe(404)
})

test('where they were not built, the front page says how', async () => {
  await serve({})
  expect(await (await served.fetch('/')).text()).toMatch(/base URL .*npm run web/s)
  expect((await served.fetch('/node')).status).toBe(404)
})
