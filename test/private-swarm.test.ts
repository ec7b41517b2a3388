// A private swarm as people make one: real processes, in a network namespace with nothing but loopback.
import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { text } from 'node:stream/consumers'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { DEMO } from './swarm.ts'

const SHOAL = fileURLToPath(new URL('../bin/shoal.js', import.meta.url))
const UNSHARE = ['--map-root-user', '--net']
/** In the namespace there is nobody else who could have it. */
const FOUNDER = '/ip4/127.0.0.1/tcp/8643'

const { status } = spawnSync('unshare', [...UNSHARE, 'ip', 'link', 'set', 'lo', 'up'])
if (status !== 0)
  console.warn('No test of private swarms here: it takes Linux, with unshare, nsenter and ip.')

let folder: string
let namespace: ChildProcess
const nodes: ChildProcess[] = []

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'shoal-private-'))
  const hold = 'ip link set lo up && echo up && exec sleep infinity'
  namespace = spawn('unshare', [...UNSHARE, 'sh', '-c', hold], { stdio: ['ignore', 'pipe', 'ignore'] })
  if (status === 0) await once(namespace.stdout as NodeJS.ReadableStream, 'data')
})

afterAll(async () => {
  await Promise.all([...nodes, namespace].map(end))
  await rm(folder, { recursive: true, force: true })
})

async function end(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return
  child.kill()
  await once(child, 'exit')
}

/** `shoal COMMAND` on a machine, which is a data folder. */
function start(machine: string, command: string, ...args: string[]): ChildProcess {
  const within = ['-t', String(namespace.pid), '--user', '--net', '--preserve-credentials']
  const shoal = [process.execPath, SHOAL, command, ...args, '--data-dir', join(folder, machine)]
  // Without the dial gate, and without the neighbours that find each other by files.
  const env = {
    ...process.env,
    NODE_OPTIONS: '',
    SHOAL_NEIGHBOURS: join(folder, machine, 'neighbours'),
    NO_COLOR: '1'
  }
  return spawn('nsenter', [...within, ...shoal], { stdio: ['ignore', 'pipe', 'pipe'], env })
}

async function shoal(machine: string, command: string, ...args: string[]) {
  const child = start(machine, command, ...args)
  const [stdout, stderr, [code]] = await Promise.all([
    text(child.stdout as NodeJS.ReadableStream),
    text(child.stderr as NodeJS.ReadableStream),
    once(child, 'exit')
  ])
  return { code: code as number | null, stdout, stderr }
}

/** A node with some blocks; resolves when it is up. */
async function up(machine: string, blocks: string, listen: string): Promise<void> {
  const child = start(machine, 'up', '--model', DEMO, '--blocks', blocks, '--listen', listen, '--json')
  nodes.push(child)
  child.stderr?.resume()
  await once(createInterface({ input: child.stdout as NodeJS.ReadableStream }), 'line')
}

const ask = (machine: string, ...args: string[]) =>
  shoal(machine, 'run', DEMO, 'Tell me a story.', '--max-tokens', '8', '--json', '--wait', '10', ...args)

/** Ten processes start, one after the other. */
const PATIENCE_MS = 120_000

test.skipIf(status !== 0)(
  'invited machines compute and ask together, and nobody else',
  { timeout: PATIENCE_MS },
  async () => {
    const { stdout: token } = await shoal('founder', 'invite', '--name', 'home', '--address', FOUNDER)
    await up('founder', '0-4', FOUNDER)
    expect(await shoal('provider', 'join', token)).toMatchObject({
      code: 0,
      stdout: expect.stringContaining('home')
    })
    const used = await shoal('stranger', 'join', token)
    expect(used).toMatchObject({ code: 1, stderr: expect.stringContaining('has been used already') })
    await up('provider', '4-8', '/ip4/127.0.0.1/tcp/0')

    const second = await shoal('founder', 'invite', '--roles', 'consumer', '--json')
    const { token: forConsumer, addresses } = JSON.parse(second.stdout)
    expect(addresses[0]).toContain(FOUNDER)
    expect(await shoal('consumer', 'join', forConsumer, '--json')).toMatchObject({ code: 0 })

    // The consumer's node is not up, and the provider's is: what asks has a key of its own beside it.
    const answers = [await ask('consumer'), await ask('provider')]
    for (const { code, stdout } of answers) expect([code, JSON.parse(stdout || '{}').tokens]).toEqual([0, 8])

    expect(await ask('stranger', '--peer', FOUNDER, '--wait', '0')).toMatchObject({
      ...{ code: 1, stdout: '', stderr: expect.stringContaining(`cannot reach ${FOUNDER}`) }
    })
    const { name, kind } = JSON.parse((await shoal('provider', 'status', '--json')).stdout).swarm
    expect([kind, name]).toEqual(['private', 'home'])
  }
)
