// The commands as people run them: real processes, their output and their ends.
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { mkdir, mkdtemp, readdir, readFile, rm, truncate, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { text } from 'node:stream/consumers'
import { fileURLToPath } from 'node:url'
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import { ModelText } from '../src/chat/model-text.ts'
import { openModel } from '../src/models/index.ts'
import { DEMO, eventually, wholeAnswer, wholeModel } from './swarm.ts'

const SHOAL = fileURLToPath(new URL('../bin/shoal.js', import.meta.url))
const OLD_NODE = '/usr/bin/node'
const PROMPT = 'Tell me a story about a little fish.'
const CLOSED = '/ip4/127.0.0.1/tcp/9'

interface Result {
  readonly code: number | null
  readonly stdout: string
  readonly stderr: string
}

let folder: string
/** What the whole model answers to PROMPT, as text. */
let expected: string
const running = new Set<ChildProcess>()

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'shoal-cli-'))
  const model = await openModel(DEMO)
  const [chat, whole] = [new ModelText(model), wholeModel()]
  await Promise.all([chat.start(), whole.start()])
  const { tokens } = await chat.prompt({
    input: {
      ...{ kind: 'conversation', tools: [], toolChoice: 'auto', parallelCalls: true },
      messages: [{ role: 'user', text: PROMPT }]
    },
    format: { kind: 'text' }
  })
  const ids = (await wholeAnswer(whole, tokens, 200)).filter((id) => !chat.endTokens.has(id))
  expected = Buffer.concat(await Promise.all(ids.map((id) => chat.bytesOf(id, false)))).toString()
  await Promise.all([chat.stop(), whole.stop(), model.close()])
})

afterEach(async () => {
  for (const child of running) child.kill('SIGKILL')
  await eventually(() => expect(running.size).toBe(0))
})

afterAll(() => rm(folder, { recursive: true, force: true }))

/** `shoal ARGUMENTS`; its temporary files go to our folder. */
function start(...args: string[]): ChildProcess {
  const env = { ...process.env, TMPDIR: folder, XDG_DATA_HOME: join(folder, 'data'), NO_COLOR: '1' }
  const child = spawn(process.execPath, [SHOAL, ...args], { stdio: 'pipe', env })
  running.add(child)
  child.once('exit', () => running.delete(child))
  return child
}

async function finish(child: ChildProcess, input = ''): Promise<Result> {
  child.stdin?.end(input)
  const [stdout, stderr, [code]] = await Promise.all([
    text(child.stdout as NodeJS.ReadableStream),
    text(child.stderr as NodeJS.ReadableStream),
    once(child, 'exit') as Promise<[number | null]>
  ])
  return { code, stdout, stderr }
}

function shoal(...args: string[]): Promise<Result> {
  return finish(start(...args))
}

/** A line of a stream that matches. */
async function line(stream: NodeJS.ReadableStream | null, pattern: RegExp): Promise<string> {
  for await (const text of createInterface({ input: stream as NodeJS.ReadableStream })) {
    if (pattern.test(text)) return text
  }
  throw new Error(`no line matches ${pattern}`)
}

/** Starts `shoal up` for some blocks; resolves to its address. */
async function up(blocks: string, ...more: string[]): Promise<string> {
  const flags = ['--model', DEMO, '--blocks', blocks, '--data-dir', join(folder, `up-${blocks}`)]
  const ready = await line(start('up', ...flags, '--json', ...more).stdout, /^{/)
  const { addresses, span } = JSON.parse(ready) as { addresses: string[]; span: string }
  expect(span).toBe(blocks)
  return addresses[0] as string
}

/** Of this command's process and all below it. */
async function descendants(pid: number): Promise<number[]> {
  const processes = (await readdir('/proc')).filter((name) => /^\d+$/.test(name)).map(Number)
  const parents = await Promise.all(
    processes.map(async (id) => {
      const stat = await readFile(`/proc/${id}/stat`, 'utf8').catch(() => '')
      return { id, parent: Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[1]) }
    })
  )
  const children = (of: number): number[] =>
    parents.filter(({ parent }) => parent === of).flatMap(({ id }) => [id, ...children(id)])
  return children(pid)
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0)
    return true
  } catch {
    return false
  }
}

describe('demo', () => {
  test.each([3, 2])('of %i nodes answers as one model does', async (nodes) => {
    const { code, stdout, stderr } = await shoal('demo', '--once', '--json', '--nodes', String(nodes))
    expect([code, stderr]).toEqual([0, ''])
    const report = JSON.parse(stdout)
    expect(report.text).toBe(expected)
    expect(report.tokens_per_second).toBeGreaterThan(0)
    const spans = nodes === 3 ? ['0-3', '3-6', '6-8'] : ['0-4', '4-8']
    expect(report.hops.map(({ span }: { span: string }) => span)).toEqual(spans)
    for (const [index, hop] of report.hops.entries()) {
      expect(Object.keys(hop).toSorted()).toEqual(['bytes_per_token', 'ms_per_token', 'node', 'span'])
      expect(hop.ms_per_token).toBeGreaterThan(0)
      // A row of 128 floats, its id and the frame's head; the tail sends the token's id.
      expect(hop.bytes_per_token).toBe(index === nodes - 1 ? 4 : 128 * 4 + 24)
    }
  })

  test('shows the answer and a table, stays, and ends with all of its processes at Ctrl-C', async () => {
    const demo = start('demo', '--max-tokens', '20')
    const shown = text(demo.stdout as NodeJS.ReadableStream)
    await line(demo.stderr, /Press Ctrl-C/)
    const below = await descendants(demo.pid as number)
    expect(below.length).toBeGreaterThanOrEqual(6) // three nodes, three engines
    demo.kill('SIGINT')
    const [code] = await once(demo, 'exit')
    expect(code).toBe(0)
    expect(await shown).toMatch(/Once upon a time.*\n\nhop +node +span +ms\/token +bytes\/token\n1 .* 0-3 /s)
    expect(below.filter(isAlive)).toEqual([])
    expect((await readdir(folder)).filter((name) => name.startsWith('shoal-demo'))).toEqual([])
  })

  test('interrupted in mid-answer ends at once', async () => {
    const demo = start('demo', '--max-tokens', '400', '--model', DEMO)
    await once(demo.stdout as NodeJS.ReadableStream, 'data')
    const below = await descendants(demo.pid as number)
    demo.kill('SIGINT')
    const [code] = await once(demo, 'exit')
    expect(code).toBe(0)
    expect(below.filter(isAlive)).toEqual([])
  })

  test('that is killed leaves no process behind', async () => {
    const demo = start('demo', '--max-tokens', '5')
    await line(demo.stderr, /Press Ctrl-C/)
    const below = await descendants(demo.pid as number)
    demo.kill('SIGKILL')
    await eventually(() => expect(below.filter(isAlive)).toEqual([]))
  })

  test('of more nodes than blocks says how many there can be', async () => {
    const { code, stderr } = await shoal('demo', '--nodes', '9')
    expect([code, stderr]).toEqual([1, "error: 8 blocks can't be split over 9 nodes: use --nodes 8.\n"])
  })
})

describe('up and run', () => {
  test('by hand: overlapping blocks, a prompt on standard input, a table', async () => {
    const [first, second] = await Promise.all([up('0-6'), up('3-8')])
    const peers = ['--peer', first, '--peer', second, '--max-tokens', '200']
    // One after the other: rows of two sessions in one batch move logits, and with them a tie's end.
    const answer = await shoal('run', DEMO, PROMPT, ...peers)
    expect([answer.code, answer.stdout]).toEqual([0, `${expected}\n`])
    const { code, stdout } = await finish(start('run', DEMO, '--verbose', ...peers), PROMPT)
    expect(code).toBe(0)
    expect(stdout).toMatch(/\n1 +\S{8} +0-3 .*\n2 +\S{8} +3-8 .*\n\n\d+ tokens, .* tokens per second/)
  })

  test('a node finds the others through one that it names', async () => {
    const first = await up('0-4')
    const second = await up('4-8', '--peer', first)
    const { code, stdout } = await shoal('run', DEMO, PROMPT, '--peer', second, '--max-tokens', '3', '--json')
    expect([code, JSON.parse(stdout).tokens]).toEqual([0, 3])
  })

  test('a missing block, an unreachable node', async () => {
    const address = await up('0-5')
    const peers = ['--peer', address, '--peer', CLOSED]
    const { code, stdout, stderr } = await shoal('run', DEMO, 'x', ...peers, '--wait', '0')
    expect([code, stdout]).toEqual([1, ''])
    expect(stderr).toContain(`warning: ${CLOSED}: `)
    expect(stderr).toMatch(/error: No chain covers the model: nobody reachable hosts block 5 of 8\. Start /)
  })

  test('an answer that a schema allows, and one that is interrupted', async () => {
    const peers = ['--peer', await up('0-8')]
    const schema = join(folder, 'schema.json')
    const properties = { ok: { type: 'boolean' }, kind: { enum: ['fish', 'bird'] } }
    await writeFile(schema, JSON.stringify({ type: 'object', properties, required: ['ok', 'kind'] }))
    const { code, stdout } = await shoal('run', DEMO, 'x', '--schema', schema, ...peers)
    expect(code).toBe(0)
    expect(JSON.parse(stdout)).toEqual({
      ok: expect.any(Boolean),
      kind: expect.stringMatching(/^(fish|bird)$/)
    })
    const child = start('run', DEMO, PROMPT, '--max-tokens', '4000', '--temperature', '1', ...peers)
    await once(child.stdout as NodeJS.ReadableStream, 'data')
    child.kill('SIGINT')
    expect((await once(child, 'exit'))[0]).toBe(130)
  })

  test('a node that is interrupted ends cleanly', async () => {
    const child = start('up', '--model', DEMO, '--data-dir', join(folder, 'interrupted'))
    await line(child.stdout, /Press Ctrl-C/)
    child.kill('SIGINT')
    child.kill('SIGINT') // as npm passes it on
    expect((await once(child, 'exit'))[0]).toBe(0)
  })

  test('a node answers programs and its page, where it says; a port that is taken is another, unless it was named', async () => {
    const up = (name: string, ...flags: string[]): ChildProcess =>
      start('up', '--memory', '0', '--data-dir', join(folder, name), '--json', ...flags)
    const { api } = JSON.parse(await line(up('api', '--port', '0').stdout, /^{/)) as { api: string }
    expect((await fetch(`${api}/health`)).status).toBe(200)
    expect((await fetch(`${api}/api/node`)).status).toBe(200)
    const named = await finish(up('api-2', '--port', new URL(api).port))
    expect([named.code, named.stderr]).toEqual([
      1,
      expect.stringMatching(/Cannot listen on 127.0.0.1, port .*--port/)
    ])
    const others = await Promise.all([up('api-3'), up('api-4')].map(({ stdout }) => line(stdout, /^{/)))
    const [one, other] = others.map((text) => (JSON.parse(text) as { api: string }).api)
    expect(one).not.toBe(other)
    expect(JSON.parse(await line(up('api-5', '--no-api').stdout, /^{/))).not.toHaveProperty('api')
  })

  test('a peer that is down is a warning', async () => {
    const child = start('up', '--data-dir', join(folder, 'lonely'), '--peer', CLOSED, '--json')
    const warned = line(child.stderr, /^warning: /)
    await line(child.stdout, /^{/)
    expect(await warned).toContain(CLOSED)
  })
})

describe('finish', () => {
  const dataDir = (): string => join(folder, 'finish')

  /** A node in `dataDir`, ready, and its end. */
  async function node(): Promise<{ child: ChildProcess; exit: Promise<Result> }> {
    const child = start('up', '--model', DEMO, '--data-dir', dataDir())
    const exit = finish(child)
    await line(child.stdout, /Press Ctrl-C/)
    return { child, exit }
  }

  test('of a node without sessions ends it at once', async () => {
    const { exit } = await node()
    const asked = await shoal('finish', '--data-dir', dataDir())
    expect(asked).toEqual({ code: 0, stdout: 'The node has left.\n', stderr: '' })
    const { code, stderr } = await exit
    expect(code).toBe(0)
    expect(stderr).toContain('asked to leave (shoal finish)\n')
    expect(stderr).not.toContain('finishing')
  })

  test('says as JSON how many sessions ended with the node', async () => {
    const { exit } = await node()
    const asked = await shoal('finish', '--data-dir', dataDir(), '--json')
    expect(asked).toEqual({ code: 0, stdout: '{"sessions":0}\n', stderr: '' })
    expect((await exit).code).toBe(0)
  })

  test('where no node runs says so, and after a node that was killed, too', async () => {
    const none = {
      code: 1,
      stdout: '',
      stderr: `error: No node is running in ${dataDir()}: name its folder with --data-dir.\n`
    }
    await rm(dataDir(), { recursive: true, force: true })
    expect(await shoal('finish', '--data-dir', dataDir())).toEqual(none)
    const { child, exit } = await node()
    child.kill('SIGKILL')
    await exit
    expect(await readdir(dataDir())).toContain('node.sock')
    expect(await shoal('finish', '--data-dir', dataDir())).toEqual(none)
  })

  test('is what a second node in a folder is told, which leaves the first one alone', async () => {
    const { exit } = await node()
    const second = await shoal('up', '--data-dir', dataDir())
    expect([second.code, second.stdout]).toEqual([1, ''])
    expect(second.stderr).toBe(
      `error: A node is running in ${dataDir()} already: ` +
        `stop it with "shoal finish --data-dir ${dataDir()}", or use another --data-dir.\n`
    )
    expect((await shoal('finish', '--data-dir', dataDir())).code).toBe(0)
    expect((await exit).code).toBe(0)
  })

  test('is what SIGTERM does, and what a crash has left is removed', async () => {
    const replay = join(dataDir(), 'replay')
    await mkdir(replay, { recursive: true })
    await writeFile(join(replay, 'left'), 'by a crash')
    const { child, exit } = await node()
    expect(existsSync(join(replay, 'left'))).toBe(false)
    child.kill('SIGTERM')
    expect((await exit).code).toBe(0)
    expect(await readdir(dataDir())).not.toContain('node.sock')
  })
})

describe('looking at a node from outside', () => {
  test('ps, ping and logs', async () => {
    const address = await up('0-8')
    const peer = address.split('/').at(-1) as string
    const dataDir = join(folder, 'up-0-8')
    const [ps, ping, short, logs] = await Promise.all([
      shoal('ps', '--json'),
      shoal('ping', address, '--count', '1'),
      shoal('ping', peer.slice(-8), '--count', '1', '--json', '--data-dir', dataDir),
      shoal('logs', '--data-dir', dataDir)
    ])
    const mine = JSON.parse(ps.stdout).find((node: { peer: string }) => node.peer === peer)
    expect(mine).toMatchObject({ folder: dataDir, hosting: [{ start: 0, end: 8 }], sessions: 0 })
    expect(mine.memoryBytes).toBeGreaterThan(50e6) // the node, its engine and the model
    expect(ping.stdout).toMatch(new RegExp(`^${peer}: \\d+\\.\\d\\d ms, direct\\nleast `))
    expect(JSON.parse(short.stdout)).toMatchObject({ peer, way: 'direct' })
    expect(logs.stdout).toMatch(/^\d{4}-\d\d-\d\dT[\d:.]+Z info {2}\S+ listens on /)
  })

  test('nobody there', async () => {
    const [ps, ping, offline] = await Promise.all([
      shoal('ps', '--quiet', '--data-dir', join(folder, 'none')),
      shoal('ping', 'abcdefgh', '--data-dir', join(folder, 'none')),
      shoal('ping', '/ip4/192.0.2.1/tcp/1', '--offline')
    ])
    expect(ps).toEqual({ code: 0, stdout: '', stderr: '' })
    expect([ping.code, ping.stderr]).toEqual([
      1,
      expect.stringMatching(/^error: Nobody known here is called abcdefgh/)
    ])
    expect([offline.code, offline.stderr]).toEqual([1, expect.stringMatching(/^error: may not dial/)])
  })
})

describe('settings', () => {
  test('are kept, listed with where they come from, and used', async () => {
    const config = ['--config', join(folder, 'set.toml')]
    await writeFile(join(folder, 'set.toml'), '')
    const set = await shoal('config', 'set', 'run.max-tokens', '3', ...config)
    expect([set.code, set.stdout, set.stderr]).toEqual([
      0,
      '',
      expect.stringMatching(/^run\.max-tokens is set in /)
    ])
    const [get, list, address] = await Promise.all([
      shoal('config', 'get', 'run.max-tokens', ...config),
      shoal(...config, 'config', '--json'),
      up('0-8')
    ])
    expect(get.stdout).toBe('3\n')
    expect(JSON.parse(list.stdout)).toContainEqual({ key: 'run.max-tokens', value: 3, source: 'config' })
    const answer = await shoal('run', DEMO, PROMPT, '--peer', address, '--json', ...config)
    expect(JSON.parse(answer.stdout).tokens).toBe(3)
  })

  test('that are wrong are said before anything is done', async () => {
    await writeFile(join(folder, 'wrong.toml'), '[up]\nmemroy = 1\n')
    const config = ['--config', join(folder, 'wrong.toml')]
    const [up, doctor, unset] = await Promise.all([
      shoal('up', ...config),
      shoal('doctor', ...config),
      shoal('config', 'set', 'up.memroy', '1', '--config', join(folder, 'new.toml'))
    ])
    expect([up.code, up.stdout, up.stderr]).toEqual([
      2,
      '',
      expect.stringMatching(/^error: .*Did you mean up\.memory\?\n$/)
    ])
    expect([doctor.code, doctor.stdout]).toEqual([1, expect.stringMatching(/^BAD {2}.*up\.memroy/)])
    expect([unset.code, existsSync(join(folder, 'new.toml'))]).toEqual([2, false])
  })
})

test('a service is printed, and nothing is written', async () => {
  const { code, stdout } = await shoal('service', 'install', '--print', '--data-dir', join(folder, 'service'))
  expect([code, existsSync(join(folder, 'service'))]).toEqual([0, false])
  expect(stdout).toContain(`"up" "--data-dir" "${join(folder, 'service')}"`)
})

describe('certify', () => {
  test('compares the demo model', async () => {
    const { code, stdout } = await shoal('certify', DEMO, '--cut', '3,6', '--cut', '4')
    expect([code, stdout.split('\n')]).toEqual([
      0,
      [
        'Shoal demo: llama, 8 blocks',
        expect.stringMatching(/^cut at 3, 6: bit-equal \(\d+ rows/),
        expect.stringMatching(/^cut at 4: bit-equal/),
        ''
      ]
    ])
  })
})

describe('what goes wrong is said, without a stack', () => {
  const file = (name: string): string => join(folder, name)

  beforeAll(async () => {
    await writeFile(file('text.gguf'), 'This is no model.')
    await writeFile(file('short.gguf'), await readFile(DEMO))
    await truncate(file('short.gguf'), 1_000_000)
  })

  test.each([
    ['an unknown option', ['up', '--frob'], 2, /unknown option '--frob'\n\(see --help\)/],
    ['an unknown command', ['frob'], 2, /unknown command 'frob'/],
    ['a mistyped command', ['statsu'], 2, /Did you mean status\?/],
    ['a mistyped option', ['up', '--memroy', '1GB'], 2, /Did you mean --memory\?/],
    ['a file of settings that is not there', ['list', '--config', '/nowhere.toml'], 2, /no file of settings/],
    ['a model that is not here', ['pull', 'llama3.2:1b', '--offline'], 1, /--offline forbids it/],
    ['others without a network', ['netcheck', '--offline'], 2, /leave --offline out/],
    ['a number out of range', ['demo', '--nodes', '0'], 2, /integer from 1 to 64/],
    ['no number', ['run', DEMO, 'x', '--temperature', 'hot'], 2, /number from 0 to 100/],
    ['blocks that are no range', ['up', '--model', DEMO, '--blocks', '5-3'], 2, /START-END/],
    ['blocks without a model', ['up', '--blocks', '0-3'], 2, /^error: --blocks are those of one model/],
    [
      'blocks that there are not',
      ['up', '--model', DEMO, '--blocks', '6-9'],
      1,
      /no blocks 6-9 in .*: it has the blocks 0-8/
    ],
    ['a cut that there is not', ['certify', DEMO, '--cut', '8'], 2, /^error: --cut 8: .* from 1 to 7/],
    ['an address that is none', ['run', DEMO, 'x', '--peer', 'somewhere'], 2, /multiaddr/],
    ['a peer whose address is none', ['up', '--peer', 'somewhere'], 2, /multiaddr/],
    [
      'an address that is not ours',
      ['up', '--listen', '/ip4/192.0.2.1/tcp/0'],
      1,
      /^error: Cannot listen .*EADDRNOTAVAIL/
    ],
    ['no nodes to ask', ['run', DEMO, 'x'], 1, /^error: No other node answers.*shoal up/],
    ['nothing to ask', ['run', DEMO, '--peer', CLOSED], 2, /^error: No prompt/],
    ['nobody reachable', ['run', DEMO, 'x', '--peer', CLOSED], 1, /error: No other node answers/],
    [
      'no such file',
      ['run', '/nowhere.gguf', 'x', '--peer', CLOSED],
      1,
      /nowhere\.gguf: there is no such file/
    ],
    ['no GGUF', ['run', 'text.gguf', 'x', '--peer', CLOSED], 1, /^error: .*no GGUF file/],
    ['half a GGUF', ['up', '--model', 'short.gguf'], 1, /^error: .*(truncated|ends|beyond)/]
  ] as const)('%s', async (_, args, code, says) => {
    const paths = args.map((argument) => (/^\w+\.gguf$/.test(argument) ? file(argument) : argument))
    const result = await shoal(...paths)
    expect(result.stderr).toMatch(says)
    expect(result.stderr).not.toMatch(/\n +at /)
    expect([result.code, result.stdout]).toEqual([code, ''])
  })

  test.each(['up', 'finish', 'run', 'certify', 'demo'])('%s --help says what it does', async (command) => {
    const { code, stdout } = await shoal(command, '--help')
    expect(code).toBe(0)
    expect(stdout).toMatch(new RegExp(`^Usage: shoal ${command} `))
    expect(stdout).toContain('--help')
  })

  test('a reader that has seen enough is no failure', async () => {
    const child = start('--help')
    child.stdout?.destroy()
    const { code, stderr } = await (async () => {
      const said = text(child.stderr as NodeJS.ReadableStream)
      const [code] = await once(child, 'exit')
      return { code, stderr: await said }
    })()
    expect([code, stderr]).toEqual([0, ''])
  })

  test.skipIf(!existsSync(OLD_NODE))('an old Node says what is missing', async () => {
    const version = await text(spawn(OLD_NODE, ['--version']).stdout)
    if (Number(/v(\d+)/.exec(version)?.[1]) >= 24) return
    const child = spawn(OLD_NODE, [SHOAL, 'demo'], { stdio: 'pipe' })
    running.add(child)
    child.once('exit', () => running.delete(child))
    const { code, stderr } = await finish(child)
    expect(code).toBe(1)
    expect(stderr).toMatch(/^Shoal needs Node 24 or newer, and this is .*npm ci/)
  })
})
