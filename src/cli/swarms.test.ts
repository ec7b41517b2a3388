// invite, join, leave, block and allow as commands: what they print where, ask, and refuse.
import { existsSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { confirm } from '@clack/prompts'
import type { Command } from 'commander'
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import { readSwarmFile } from '../node/index.ts'
import { decodeToken } from '../swarm/index.ts'
import { allowCommand, blockCommand } from './block.ts'
import { inviteCommand } from './invite.ts'
import { askToJoin, joinCommand } from './join.ts'
import { leaveCommand } from './leave.ts'
import type * as lifetime from './lifetime.ts'

const CANCEL = Symbol('clack:cancel')
vi.mock('@clack/prompts', () => ({ confirm: vi.fn(), isCancel: (answer: unknown) => answer === CANCEL }))

// It would take this process's signals, and the channel that the runner has to it.
vi.mock('./lifetime.ts', async (original) => ({
  ...(await original<typeof lifetime>()),
  untilInterrupted: () => new AbortController().signal
}))

const PEER = '12D3KooWGRUzzJ5tTpVj3mcFkGzQQCJrdJTbCdz8VNRMsPJNmdVr'
const LAN = ['--address', '/ip4/192.168.1.20/tcp/8643']

/** Whoever runs the tests may be at one. */
const TERMINAL = [process.stdin, process.stderr]
const wasTerminal = TERMINAL.map(({ isTTY }) => isTTY)

let folder: string
let stdout: string[]
let stderr: string[]

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'shoal-swarms-'))
  stdout = []
  stderr = []
  for (const stream of TERMINAL) stream.isTTY = false
  vi.spyOn(console, 'log').mockImplementation((line) => void stdout.push(line))
  vi.spyOn(console, 'error').mockImplementation((line) => void stderr.push(line))
})

afterEach(async () => {
  process.exitCode = undefined
  for (const [index, stream] of TERMINAL.entries()) stream.isTTY = wasTerminal[index] as boolean
  vi.restoreAllMocks()
  vi.mocked(confirm).mockReset()
  await rm(folder, { recursive: true, force: true })
})

async function shoal(command: Command, ...args: string[]): Promise<void> {
  const silent = { writeErr: () => {}, writeOut: () => {} }
  await command
    .exitOverride()
    .configureOutput(silent)
    .parseAsync([...args, '--data-dir', folder], { from: 'user' })
}

/** A person at a terminal, who gives this answer. */
function atTerminal(answer: boolean | symbol): void {
  for (const stream of TERMINAL) stream.isTTY = true
  vi.mocked(confirm).mockResolvedValue(answer as boolean)
}

const kind = async (): Promise<string> => (await readSwarmFile(folder)).kind

describe('invite', () => {
  test('prints the token alone on standard output, and the rest elsewhere', async () => {
    await shoal(inviteCommand(), '--name', 'home', ...LAN, '--address', '/ip4/10.0.0.1/tcp/1')
    expect(stdout).toHaveLength(1)
    const { name, addresses, says } = decodeToken(stdout[0] as string)
    expect([name, addresses]).toEqual(['home', ['/ip4/192.168.1.20/tcp/8643', '/ip4/10.0.0.1/tcp/1']])
    expect(says).toMatchObject({ roles: ['consumer', 'provider', 'seeder'], uses: 1 })
    expect(stderr[0]).toBe('This machine has made the private swarm home.')
    expect(stderr[1]).toMatch(/^Good for 1 machine as consumer, provider, seeder, until /)
  })

  test('says the same as JSON', async () => {
    const before = Date.now()
    await shoal(
      inviteCommand(),
      ...LAN,
      '--json',
      '--roles',
      'planner, consumer',
      '--uses',
      '3',
      '--expires',
      '2h'
    )
    const { token, swarm, expires, ...rest } = JSON.parse(stdout[0] as string)
    expect(rest).toEqual({ roles: ['consumer', 'planner'], uses: 3, addresses: [LAN[1]] })
    expect(decodeToken(token)).toMatchObject({ name: swarm, says: { uses: 3, expires: Date.parse(expires) } })
    expect(Date.parse(expires) - before).toBeGreaterThanOrEqual(2 * 3_600_000)
    expect(Date.parse(expires) - Date.now()).toBeLessThanOrEqual(2 * 3_600_000)
  })

  test('needs an address, and says which ones are of no use to others', async () => {
    await expect(shoal(inviteCommand())).rejects.toMatchObject({
      code: 'USAGE',
      message: expect.stringMatching(/--address/)
    })
    expect(await kind()).toBe('local')
    await shoal(inviteCommand(), '--address', '/ip4/127.0.0.1/tcp/1')
    expect(stderr[1]).toMatch(/^warning: only this machine can be reached there/)
  })

  test.each([
    ['--expires', '3y', /365d/],
    ['--expires', '0h', /365d/],
    ['--expires', '366d', /365d/],
    ['--roles', 'king', /some of consumer/],
    ['--uses', '0', /integer from 1/],
    ['--name', 'a\u0007b', /64 characters/],
    ['--address', 'here', /multiaddr/]
  ])('does not take %s %j', async (flag, value, says) => {
    await expect(shoal(inviteCommand(), ...LAN, flag, value)).rejects.toThrow(says)
  })
})

describe('join', () => {
  test('the public swarm: when a person says yes, or --yes does', async () => {
    await expect(shoal(joinCommand(), 'public')).rejects.toMatchObject({ code: 'USAGE' })
    atTerminal(false)
    await shoal(joinCommand(), 'public')
    expect([await kind(), stdout]).toEqual(['local', []])
    expect(stderr[0]).toMatch(/network of strangers/)
    atTerminal(CANCEL)
    await shoal(joinCommand(), 'public')
    expect([await kind(), process.exitCode]).toEqual(['local', 130])
    atTerminal(true)
    await shoal(joinCommand(), 'public')
    expect([await kind(), stdout]).toEqual(['public', ['This machine has joined the public swarm.']])
    await shoal(leaveCommand())
    await shoal(joinCommand(), 'public', '--yes', '--json')
    expect([await kind(), stdout.at(-1)]).toEqual(['public', '{"kind":"public"}'])
  })

  test('says what is wrong with a token before it contacts anybody', async () => {
    await expect(shoal(joinCommand(), 'shoal1abc')).rejects.toMatchObject({ code: 'TOKEN' })
    expect(existsSync(join(folder, 'identity.key'))).toBe(false)
  })
})

describe('the first "shoal up"', () => {
  test('asks nobody where there is no terminal', async () => {
    expect((await askToJoin(folder))?.kind).toBe('local')
    expect([vi.mocked(confirm).mock.calls, existsSync(join(folder, 'swarm.json'))]).toEqual([[], false])
  })

  test.each([
    [true, 'public'],
    [false, 'local']
  ])('asks once; the answer %s is remembered', async (answer, kind) => {
    atTerminal(answer)
    expect((await askToJoin(folder))?.kind).toBe(kind)
    expect((await askToJoin(folder))?.kind).toBe(kind)
    expect(confirm).toHaveBeenCalledTimes(1)
    expect(confirm).toHaveBeenCalledWith(
      expect.objectContaining({ initialValue: false, output: process.stderr })
    )
    expect(stdout).toEqual([])
  })

  test('interrupted is not an answer', async () => {
    atTerminal(CANCEL)
    expect(await askToJoin(folder)).toBeUndefined()
    expect(existsSync(join(folder, 'swarm.json'))).toBe(false)
  })
})

describe('leave', () => {
  test("a swarm that this machine made: only with a person's word, as its key is nowhere else", async () => {
    await shoal(inviteCommand(), '--name', 'home', ...LAN)
    await expect(shoal(leaveCommand())).rejects.toMatchObject({
      ...{ code: 'USAGE', message: expect.stringMatching(/^This machine made the swarm home.*--yes/) }
    })
    atTerminal(false)
    await shoal(leaveCommand())
    expect(await kind()).toBe('private')
    stdout = []
    await shoal(leaveCommand(), '--yes')
    expect([await kind(), stdout]).toEqual(['local', ['This machine has left the swarm home.']])
  })

  test('nothing, and the public swarm', async () => {
    await shoal(leaveCommand())
    await shoal(joinCommand(), 'public', '--yes')
    await shoal(leaveCommand(), '--json')
    expect([stdout[0], stdout.at(-1)]).toEqual(['This machine has joined nothing.', '{"kind":"public"}'])
  })
})

describe('block and allow', () => {
  test('change their list, and print it', async () => {
    await shoal(blockCommand(), PEER)
    expect(await readSwarmFile(folder)).toMatchObject({ block: [PEER], allow: [] })
    await shoal(allowCommand(), '--json')
    await shoal(blockCommand(), '--json')
    await shoal(blockCommand(), PEER, '--remove')
    await shoal(blockCommand())
    expect(stdout).toEqual([PEER, '[]', `["${PEER}"]`])
    expect(stderr).toHaveLength(2)
  })

  test('take nothing but peer ids', async () => {
    await expect(shoal(allowCommand(), 'GRUzzJ5t')).rejects.toThrow(/must be a peer id/)
  })
})
