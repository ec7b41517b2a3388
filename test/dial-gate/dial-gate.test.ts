import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { DENIED, RECORD, takeRecord } from './record.ts'

const ROOT = fileURLToPath(new URL('../..', import.meta.url))
const VITEST = join(ROOT, 'node_modules/vitest/vitest.mjs')

let folder: string
/** Of the processes here, so that what they are denied does not fail this run. */
let path: string

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'shoal-gate-test-'))
  path = join(folder, 'denied')
})

afterAll(() => rm(folder, { recursive: true, force: true }))

async function run(...args: string[]): Promise<{ code: number | null; output: string }> {
  const env = { ...process.env, [RECORD]: path, NO_COLOR: '1' }
  const child = spawn(process.execPath, args, { cwd: ROOT, env, stdio: ['ignore', 'pipe', 'pipe'] })
  const said = [text(child.stdout), text(child.stderr)]
  const [code] = (await once(child, 'exit')) as [number | null]
  return { code, output: (await Promise.all(said)).join('') }
}

/** What a script of ES module imports does in a process of its own. */
function script(source: string): ReturnType<typeof run> {
  return run('--input-type=module', '-e', source)
}

describe('a process that a test starts is ended before it can', () => {
  test.each([
    ['dial', `import { connect } from 'net'; connect(80, '192.0.2.1')`, /connect to 192\.0\.2\.1, port 80/],
    [
      'dial by options',
      `import net from 'net'; net.connect({ port: 80, host: '2001:db8::1' })`,
      /2001:db8::1/
    ],
    ['dial a socket', `import net from 'net'; new net.Socket().connect(80, '10.0.0.1')`, /10\.0\.0\.1/],
    ['dial by TLS', `import { connect } from 'tls'; connect(443, '192.0.2.1')`, /port 443/],
    ['dial a name', `import { connect } from 'net'; connect(80, 'host.invalid')`, /host\.invalid/],
    ['fetch', `await fetch('http://192.0.2.1:81/').catch(() => {})`, /port 81/],
    ['open a WebSocket', `new WebSocket('ws://192.0.2.1:82/')`, /port 82/],
    ['get', `import { get } from 'http'; get('http://192.0.2.1:83/')`, /port 83/],
    ['look up', `import { lookup } from 'dns'; lookup('host.invalid', () => {})`, /look up host\.invalid/],
    [
      'look up by promise',
      `import dns from 'dns/promises'; await dns.lookup('host.invalid').catch(() => {})`,
      /look/
    ],
    [
      'ask a name server',
      `import { resolve4 } from 'dns'; resolve4('host.invalid', () => {})`,
      /name server/
    ],
    [
      'ask with a resolver',
      `import { Resolver } from 'dns/promises'; await new Resolver().resolveTxt('host.invalid')`,
      /name server/
    ],
    ['send', udp(`send('x', 53, '192.0.2.1')`), /send to 192\.0\.2\.1/],
    ['send a part', udp(`send('xyz', 0, 1, 53, '224.0.0.251')`), /send to 224\.0\.0\.251/],
    ['connect by UDP', udp(`connect(53, '192.0.2.1')`), /connect to 192\.0\.2\.1/],
    ['join a group', udp(`addMembership('224.0.0.251')`), /join 224\.0\.0\.251/],
    ['listen for multicast', udp('bind(5353)'), /listen on port 5353/]
  ])('%s', async (_, source, says) => {
    const { code, output } = await script(source)
    expect(output).toMatch(says)
    expect(output).toMatch(/^dial gate: .*tests stay on loopback\n$/)
    expect(code).toBe(DENIED)
    expect(takeRecord(path)).toBe(output)
  })

  test('also where it is started by one that is started', async () => {
    const inner = `require('net').connect(80, '192.0.2.1')`
    const source = `import { execFileSync } from 'child_process'
      try { execFileSync(process.execPath, ['-e', ${JSON.stringify(inner)}]) } catch (error) { process.exit(error.status) }`
    expect((await script(source)).code).toBe(DENIED)
    expect(takeRecord(path)).toMatch(/192\.0\.2\.1/)
  })
})

test('loopback, sockets in the file system and sockets that are not bound are left alone', async () => {
  const source = `
    import { createSocket } from 'dgram'
    import { lookup } from 'dns'
    import { once } from 'events'
    import { connect, createServer } from 'net'
    import { promisify } from 'util'
    const accept = async (...where) => {
      const server = createServer((socket) => socket.destroy()).listen(...where)
      await once(server, 'listening')
      const address = server.address()
      for (const to of where[0] === 0 ? [[address.port, '127.0.0.1'], [address.port]] : [where, [{ path: where[0] }]]) {
        await once(connect(...to), 'connect')
      }
      server.close()
    }
    await accept(0, 'localhost')
    await accept(${JSON.stringify('SOCKET')})
    const receiver = createSocket('udp4').bind(0, '127.0.0.1')
    await once(receiver, 'listening')
    const sender = createSocket('udp4')
    sender.send('x', receiver.address().port, '127.0.0.1')
    await once(receiver, 'message')
    console.log((await promisify(lookup)('127.0.0.1')).address)
    process.exit()`.replace('SOCKET', join(folder, 'socket'))
  expect(await script(source)).toEqual({ code: 0, output: '127.0.0.1\n' })
  expect(takeRecord(path)).toBe('')
})

test('a run fails by what its tests and their processes dial, and by nothing else', async () => {
  const { code, output } = await run(VITEST, 'run', '--config', 'test/dial-gate/fixture.config.ts')
  expect(output).toMatch(/dial gate: .* connect to 192\.0\.2\.1/)
  expect(output).toMatch(/dial gate: .* connect to 192\.0\.2\.2/)
  expect(output).toMatch(/Tests +2 failed \| 1 passed/)
  expect(code).toBe(1)
})

function udp(call: string): string {
  return `import { createSocket } from 'dgram'; createSocket('udp4').${call}`
}
