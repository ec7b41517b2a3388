// Models by their names, as people use them: real processes, and a hub on loopback.
import { type ChildProcess, spawn } from 'node:child_process'
import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { cp, mkdir, mkdtemp, open, readdir, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { text } from 'node:stream/consumers'
import { fileURLToPath } from 'node:url'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { writeImportance } from '../src/models/index.ts'
import { TestHub } from './hub.ts'
import { DEMO, eventually } from './swarm.ts'

const SHOAL = fileURLToPath(new URL('../bin/shoal.js', import.meta.url))
const PROMPT = 'Tell me a story about a little fish.'
/** Nobody has hashed it. */
const PLAIN = 'hf:someone/plain:Q8_0'
/** Its manifest is beside it. */
const HASHED = 'hf:someone/hashed:Q8_0'
const MODEL_BYTES = 1_820_000
const CLOSED = 'http://127.0.0.1:9'

interface Result {
  readonly code: number | null
  readonly stdout: string
  readonly stderr: string
}

let folder: string
let hub: TestHub
/** Of the demo model. */
let id: string
/** A folder of each test's own. */
let place: string
let tests = 0
const running = new Set<ChildProcess>()

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'shoal-models-'))
  const repositories = join(folder, 'hub', 'someone')
  for (const name of ['plain', 'hashed']) {
    await mkdir(join(repositories, name), { recursive: true })
    await cp(DEMO, join(repositories, name, 'demo-Q8_0.gguf'))
  }
  place = join(folder, 'publisher')
  const file = join(repositories, 'hashed', 'demo-Q8_0.gguf')
  const published = await shoal('publish', file, '--name', 'demo', '--source', HASHED, '--json')
  id = JSON.parse(published.stdout).id
  hub = await TestHub.start({ folder: join(folder, 'hub') })
})

beforeEach(async () => {
  place = join(folder, `test-${tests++}`)
  await mkdir(place)
  hub.requests.length = 0
})

afterEach(async () => {
  hub.heal()
  for (const child of running) child.kill('SIGKILL')
  await eventually(() => expect(running.size).toBe(0))
})

afterAll(async () => {
  await hub?.close()
  await rm(folder, { recursive: true, force: true })
})

/** `shoal ARGUMENTS` in a swarm of this test's own; data folders are named within it. */
function start(args: readonly string[], env: NodeJS.ProcessEnv = {}): ChildProcess {
  const child = spawn(process.execPath, [SHOAL, ...args], {
    stdio: 'pipe',
    env: {
      ...process.env,
      ...{ TMPDIR: folder, XDG_DATA_HOME: join(place, 'data'), XDG_CACHE_HOME: join(place, 'cache') },
      ...{ NO_COLOR: '1', SHOAL_NEIGHBOURS: join(place, 'neighbours'), HF_ENDPOINT: hub?.endpoint ?? CLOSED },
      ...env
    }
  })
  running.add(child)
  child.once('exit', () => running.delete(child))
  return child
}

async function finish(child: ChildProcess): Promise<Result> {
  child.stdin?.end()
  const [stdout, stderr, [code]] = await Promise.all([
    text(child.stdout as NodeJS.ReadableStream),
    text(child.stderr as NodeJS.ReadableStream),
    once(child, 'exit') as Promise<[number | null]>
  ])
  return { code, stdout, stderr }
}

function shoal(...args: string[]): Promise<Result> {
  return finish(start(args))
}

/** What a command that succeeds prints as JSON. */
async function json<T = Record<string, unknown>>(...args: string[]): Promise<T> {
  const { code, stdout, stderr } = await shoal(...args, '--json')
  expect([code, stderr]).toEqual([0, ''])
  return JSON.parse(stdout) as T
}

interface Pulled {
  readonly id: string
  readonly bytes: number
  readonly fetched: { readonly peer: number; readonly http: number; readonly file: number }
}

const pull = (node: string, name: string, ...more: string[]): Promise<Pulled> =>
  json<Pulled>('pull', name, '--data-dir', join(place, node), ...more)

const listed = (node: string): Promise<{ id: string; name: string; bytes: number; bytes_there: number }[]> =>
  json('list', '--data-dir', join(place, node))

/** Starts a node; resolves to what it says when it is ready. */
async function node(
  name: string,
  args: readonly string[],
  env: NodeJS.ProcessEnv = {}
): Promise<{ child: ChildProcess; ready: { peer: string; addresses: string[]; span?: string } }> {
  const child = start([...args, '--data-dir', join(place, name), '--json'], env)
  const said = text(child.stderr as NodeJS.ReadableStream)
  for await (const line of createInterface({ input: child.stdout as NodeJS.ReadableStream })) {
    return { child, ready: JSON.parse(line) }
  }
  throw new Error(await said)
}

/** Bytes of files that the hub sends meanwhile. */
async function hubBytes<T>(work: () => Promise<T>): Promise<[T, number]> {
  const before = hub.bytesSent
  return [await work(), hub.bytesSent - before]
}

const ask = async (name: string, ...more: string[]): Promise<string> => {
  const args = [name, PROMPT, '--max-tokens', '20', '--data-dir', join(place, 'consumer'), ...more]
  return (await json<{ text: string }>('run', ...args)).text
}

describe('pull', () => {
  test('fetches from the hub once, and is in the list', async () => {
    const [pulled, bytes] = await hubBytes(() => pull('a', PLAIN))
    expect(pulled.fetched).toEqual({ peer: 0, http: pulled.bytes, file: 0 })
    expect(bytes).toBeGreaterThan(MODEL_BYTES)
    expect(await hubBytes(() => pull('a', PLAIN))).toMatchObject([{ fetched: { http: 0 } }, 0])
    expect(await listed('a')).toMatchObject([
      { name: PLAIN, id: pulled.id, bytes: pulled.bytes, bytes_there: pulled.bytes, hashed: false }
    ])
  })

  test('of blocks fetches only what they take', async () => {
    const { bytes, fetched } = await pull('a', PLAIN, '--blocks', '2-4')
    expect(fetched.http).toBe(bytes)
    expect(bytes).toBeLessThan(MODEL_BYTES / 3)
    expect(await listed('a')).toMatchObject([{ blocks: [2, 3], bytes_there: bytes }])
  })

  test('goes to peers, and not to the hub, where a neighbour has it', async () => {
    await pull('a', HASHED)
    await node('a', ['seed'])
    const [pulled, bytes] = await hubBytes(() => pull('b', HASHED))
    expect([pulled.id, pulled.fetched]).toEqual([id, { peer: pulled.bytes, http: 0, file: 0 }])
    expect(bytes).toBeLessThan(MODEL_BYTES / 10) // its header, and its manifest
  })

  test('by the id takes all from a peer that has a file, and its listing, without the hub', async () => {
    await node('a', ['seed', DEMO])
    const [pulled, bytes] = await hubBytes(() => pull('b', id))
    expect([pulled.id, pulled.fetched.peer, bytes]).toEqual([id, pulled.bytes, 0])
  })

  test('while a node runs on the same store gives that node more to seed', async () => {
    const { child } = await node('a', ['up', '--memory', '0'])
    await pull('a', HASHED)
    expect((await pull('b', id)).fetched).toMatchObject({ http: 0, file: 0 })
    child.kill('SIGINT')
    await once(child, 'exit')
  })

  /** A pull from a slow peer, once some of it has come. */
  async function begun(): Promise<ChildProcess> {
    await node('slow', ['seed', DEMO, '--upload', '100KB'])
    const child = start(['pull', id, '--data-dir', join(place, 'a')])
    await eventually(async () => expect((await listed('a'))[0]?.bytes_there ?? 0).toBeGreaterThan(0))
    return child
  }

  test('killed in the middle goes on from there', async () => {
    await begun()
    for (const child of running) child.kill('SIGKILL')
    await eventually(() => expect(running.size).toBe(0))
    const [{ bytes_there: there, bytes } = { bytes_there: 0, bytes: 0 }] = await listed('a')
    expect(there).toBeLessThan(bytes)
    expect((await pull('a', HASHED)).fetched.http).toBe(bytes - there)
  })

  test('interrupted says that what has come is kept', async () => {
    const child = await begun()
    const end = finish(child)
    child.kill('SIGINT')
    expect(await end).toMatchObject({ code: 130, stdout: '', stderr: expect.stringContaining('is kept') })
    expect((await listed('a'))[0]?.bytes_there).toBeGreaterThan(0)
  })
})

describe('a swarm by name', () => {
  test('three nodes fetch only their blocks, and answer as the whole model does', async () => {
    const expected = await ask(
      DEMO,
      '--peer',
      (await node('whole', ['up', '--model', DEMO, '--blocks', '0-8'])).ready.addresses[0] as string
    )
    for (const child of running) child.kill('SIGKILL')
    await eventually(() => expect(running.size).toBe(0))
    const spans = ['0-3', '3-6', '6-8']
    const [, bytes] = await hubBytes(() =>
      Promise.all(spans.map((span) => node(span, ['up', '--model', PLAIN, '--blocks', span])))
    )
    expect(bytes).toBeLessThan(2 * MODEL_BYTES) // headers thrice, fingerprints thrice, blocks once
    expect(await ask(PLAIN)).toBe(expected)
    const there = await Promise.all(spans.map(async (span) => (await listed(span))[0]))
    for (const model of there) expect(model?.bytes_there).toBeLessThan(MODEL_BYTES / 2)
    expect(await readdir(join(place, 'consumer', 'store', 'models', there[0]?.id ?? ''))).toContain(
      'vocabulary.gguf'
    )
  })

  test('who knows only the id hosts and asks with what peers give', async () => {
    await node('a', ['seed', DEMO])
    const [, bytes] = await hubBytes(async () => {
      const { ready } = await node('b', ['up', '--model', id, '--blocks', '0-5'])
      expect(ready.span).toBe('0-5')
      await node('c', ['up', '--model', id, '--blocks', '5-8'])
      expect(await ask(id)).toContain('Once upon a time')
    })
    expect(bytes).toBe(0)
  })

  test('nodes that choose their blocks themselves fetch them', async () => {
    await node('a', ['up', '--model', HASHED])
    const args = ['--max-tokens', '20', '--data-dir', join(place, 'consumer')]
    const { code, stdout } = await shoal('run', HASHED, PROMPT, ...args) // it may have to wait for the node
    expect([code, stdout]).toEqual([0, expect.stringContaining('Once upon a time')])
  })
})

describe('the store', () => {
  test('a model that is hosted is not removed, and one that is not is', async () => {
    const { child } = await node('a', ['up', '--model', HASHED, '--blocks', '0-3'])
    const dataDir = ['--data-dir', join(place, 'a')]
    const refused = await shoal('rm', HASHED, '--yes', ...dataDir)
    expect(refused).toMatchObject({
      code: 1,
      stderr: expect.stringMatching(/in use by another Shoal process/)
    })
    expect(await shoal('rm', HASHED, ...dataDir)).toMatchObject({
      code: 2,
      stderr: expect.stringContaining('--yes')
    })
    child.kill('SIGINT')
    await once(child, 'exit')
    expect(await json('rm', id.slice(0, 12), '--yes', ...dataDir)).toMatchObject([{ id, name: HASHED }])
    expect(await listed('a')).toEqual([])
  })

  test('a model that a node was told to seed is not removed', async () => {
    await pull('a', HASHED)
    await node('a', ['seed', HASHED])
    const refused = await shoal('rm', HASHED, '--yes', '--data-dir', join(place, 'a'))
    expect(refused).toMatchObject({
      code: 1,
      stderr: expect.stringContaining('in use by another Shoal process')
    })
  })

  test('verify finds a flipped byte, and pull mends it', async () => {
    const { bytes } = await pull('a', HASHED)
    const dataDir = ['--data-dir', join(place, 'a')]
    expect(await json('verify', ...dataDir)).toMatchObject([{ id, bad: [], hashed: true }])
    const file = await open(join(place, 'a', 'store', 'models', id, 'block-3.gguf'), 'r+')
    const { size } = await file.stat()
    await file.write(Buffer.from([0xaa]), 0, 1, size - 1_000)
    await file.close()
    const found = await shoal('verify', HASHED, ...dataDir)
    expect(found).toMatchObject({
      code: 1,
      stdout: `${HASHED}: BAD, 1 piece damaged: "shoal pull ${HASHED}" fetches them again.\n`
    })
    const { fetched } = await pull('a', HASHED)
    expect(fetched.http).toBeGreaterThan(0)
    expect(fetched.http).toBeLessThan(bytes / 10)
    expect(await shoal('verify', ...dataDir)).toMatchObject({
      code: 0,
      stdout: expect.stringContaining('good')
    })
  })

  test('is shared by nodes that are told so', async () => {
    const store = ['--store', join(place, 'shared')]
    await pull('a', HASHED, ...store)
    expect((await pull('b', HASHED, ...store)).fetched).toEqual({ peer: 0, http: 0, file: 0 })
  })
})

describe('publish', () => {
  test('of a model on the hub fetches and hashes it, so that peers can give it', async () => {
    const out = join(place, 'out')
    const dataDir = ['--data-dir', join(place, 'a')]
    const published = await json<{ id: string; manifest: string }>(
      'publish',
      PLAIN,
      '--out',
      out,
      '--licence',
      'MIT',
      ...dataDir
    )
    expect(published).toMatchObject({ id, manifest: join(out, 'demo-Q8_0.gguf.manifest') })
    expect(await listed('a')).toMatchObject([{ id, name: PLAIN, hashed: true }])
    const { ready } = await node('a', ['seed', PLAIN])
    expect((await pull('b', id)).fetched).toMatchObject({ http: 0, file: 0 })
    const shown = await json('show', id, '--data-dir', join(place, 'b'))
    expect(shown).toMatchObject({
      id,
      publisher: ready.peer,
      licence: 'MIT',
      splits: true,
      blocks: 8,
      hashed: true
    })
    expect(shown.sources).toEqual([expect.stringContaining('/someone/plain/resolve/main/demo-Q8_0.gguf')])
  })

  test('lists the importance matrix, if it is one of the model', async () => {
    const matrix = join(place, 'matrix.gguf')
    const weighing = (name: string) => {
      const entries = [{ name, sums: Float32Array.of(1, 2), counts: Float32Array.of(1) }]
      return writeImportance(matrix, { entries, chunks: 1, chunkLength: 512, datasets: [] })
    }
    await weighing('blk.0.attn_k.weight')
    const at = ['--out', place, '--data-dir', join(place, 'a')]
    await shoal('publish', DEMO, '--imatrix', matrix, '--imatrix-source', 'https://example.org/m.gguf', ...at)
    const { importance } = await json('show', id, '--data-dir', join(place, 'a'))
    const sha256 = createHash('sha256').update(readFileSync(matrix)).digest('hex')
    expect(importance).toMatchObject({ sha256, urls: ['https://example.org/m.gguf'] })
    await weighing('blk.99.attn_k.weight')
    const { code, stderr } = await shoal('publish', DEMO, '--imatrix', matrix, ...at)
    expect(code).toBe(1)
    expect(stderr).toContain('is of another model: it weighs blk.99.attn_k.weight')
  })

  test('what peers list is not asked where it is on this machine or in its network', async () => {
    const bad = await TestHub.start({ folder: join(folder, 'hub') })
    try {
      const source = bad.url('someone/plain', 'demo-Q8_0.gguf')
      await shoal('publish', DEMO, '--source', source, '--out', place, '--data-dir', join(place, 'a'))
      const { child } = await node('a', ['seed', DEMO])
      const { bytes } = await pull('b', id, '--blocks', '0-1')
      child.kill('SIGKILL')
      const { code, stderr } = await shoal('pull', id, '--data-dir', join(place, 'b'))
      expect([code, stderr]).toEqual([1, expect.stringContaining('is not an address that this node may ask')])
      expect(bytes).toBeGreaterThan(0)
      expect(bad.requests).toEqual([])
    } finally {
      await bad.close()
    }
  })
})

describe('show', () => {
  test('of the catalogue asks nobody', async () => {
    const shown = await json('show', 'llama3.2')
    expect(shown).toMatchObject({ name: 'llama3.2:3b-q4_k_m', from: 'catalogue', blocks: 28, splits: true })
    expect(hub.requests).toEqual([])
  })

  test('of a file in words', async () => {
    const { code, stdout } = await shoal('show', DEMO)
    expect(code).toBe(0)
    expect(stdout).toMatch(/^parameters +1\.71 million$/m)
    expect(stdout).toMatch(/^types +Q8_0 1\.81 MB, F32 8\.70 kB$/m)
  })
})

describe('what goes wrong is said', () => {
  test.each([
    ['a name like another', ['pull', 'lama3.2'], 1, /No model is called "lama3\.2"\. Did you mean llama3\.2/],
    ['a size that there is not', ['up', '--model', 'llama3.2:4b'], 1, /Did you mean llama3\.2:[13]b/],
    ['a command like another', ['pul', 'x'], 2, /Did you mean pull/],
    ['a flag like another', ['pull', 'demo', '--block', '0-1'], 2, /Did you mean --blocks/],
    ['a rate that is none', ['seed', '--upload', '12'], 2, /at least 1KB/],
    ['a quantization that there is not', ['pull', 'hf:someone/plain:Q4_0'], 1, /has no Q4_0\..* It has Q8_0/],
    ['a repository that there is not', ['pull', 'hf:nobody/nothing'], 1, /There is no .*nobody\/nothing/],
    [
      'blocks that there are not',
      ['pull', PLAIN, '--blocks', '6-9'],
      1,
      /no blocks 6-9 in .*: it has the blocks 0-8/
    ],
    [
      'a store that is too small',
      ['up', '--model', HASHED, '--blocks', '0-3', '--disk', '100KB'],
      1,
      /quota of 1 MiB/
    ],
    [
      'a model that is not here',
      ['rm', 'nothing', '--yes'],
      1,
      /"nothing" is not in the store\. "shoal list"/
    ],
    [
      'an id that nobody has',
      ['pull', 'ab'.repeat(32)],
      1,
      /abababababab is not here, and no other node answers/
    ],
    ['nothing to seed', ['seed'], 2, /Nothing is in the store/]
  ] as const)('%s', async (_, args, code, says) => {
    const result = await shoal(...args)
    expect([result.code, result.stdout]).toEqual([code, ''])
    expect(result.stderr).toMatch(says)
    expect(result.stderr).not.toMatch(/\n +at /)
  })

  test('by a hub that wants a token, and by one that is too busy', async () => {
    hub.fail({ status: 401 })
    expect((await shoal('pull', PLAIN)).stderr).toMatch(/set HF_TOKEN/)
    hub.fail({ status: 429, headers: { 'retry-after': '3600' } })
    expect((await shoal('pull', PLAIN)).stderr).toMatch(/asked too often, try again in 3600 s/)
  })

  test('by a hub that fails in the middle', async () => {
    await pull('a', HASHED, '--blocks', '0-1')
    hub.fail({ status: 403 }, { times: 100, path: /\.gguf$/ })
    const { code, stderr } = await shoal('pull', HASHED, '--data-dir', join(place, 'a'))
    expect([code, stderr]).toEqual([1, expect.stringMatching(/^error: The hub does not allow to read /)])
  })

  test('HF_ENDPOINT that is no address', async () => {
    const { code, stderr } = await finish(start(['list'], { HF_ENDPOINT: 'mirror' }))
    expect([code, stderr]).toEqual([2, expect.stringContaining('HF_ENDPOINT is "mirror"')])
  })

  test('where nobody has it and nobody answers, at once', async () => {
    await shoal('publish', DEMO, '--out', place, '--data-dir', join(place, 'a'))
    const { code, stderr } = await shoal('pull', id, '--data-dir', join(place, 'a'))
    expect([code, stderr]).toEqual([
      1,
      expect.stringMatching(/nobody says where it is, and no other node answers/)
    ])
  })
})
