// What the command prints of nodes on loopback, and of none.
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { TestSwarm } from '../../test/swarm.ts'
import { benchCommand } from './bench.ts'
import type * as lifetime from './lifetime.ts'

const TOKENS = 24

const interrupt = { controller: new AbortController() }

// It would take this process's signals, and the channel that the runner has to it.
vi.mock('./lifetime.ts', async (original) => ({
  ...(await original<typeof lifetime>()),
  untilInterrupted: () => interrupt.controller.signal
}))

let folder: string
let stdout: string[]
let stderr: string[]
let swarm: TestSwarm | undefined

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'shoal-bench-'))
  vi.stubEnv('SHOAL_NEIGHBOURS', join(folder, 'neighbours')) // nodes of whoever runs the tests
  ;[stdout, stderr] = [[], []]
  interrupt.controller = new AbortController()
  vi.spyOn(console, 'log').mockImplementation((line) => void stdout.push(line))
  vi.spyOn(console, 'error').mockImplementation((line) => void stderr.push(line))
})

afterEach(async () => {
  process.exitCode = undefined
  vi.restoreAllMocks()
  vi.unstubAllEnvs()
  await swarm?.stop()
  swarm = undefined
  await rm(folder, { recursive: true, force: true })
})

async function bench(...args: string[]): Promise<void> {
  await benchCommand()
    .exitOverride()
    .parseAsync(['--tokens', String(TOKENS), '--wait', '0', ...args, '--data-dir', folder], { from: 'user' })
}

/** Peers of a swarm as flags. */
function peers({ nodes }: TestSwarm): string[] {
  return nodes.flatMap(({ host }) => ['--peer', host.addresses[0] as string])
}

test('a machine alone answers itself, and says so', async () => {
  await bench()
  const all = stdout.join('\n')
  expect(all).toMatch(/^this machine, Shoal demo \(8 blocks\): \d/)
  expect(all).toMatch(/\n1 +\S{8} +0-8 +\d+\.\d\d +\d+\.\d\d +0\.00\nback .*\nrest .*\nall /)
  expect(all).toMatch(/\n[\d.]+ tokens per second, first after .* predicted were [\d.]+, at/)
  expect(all).toMatch(
    /\nwith guesses ahead: [\d.]+ tokens per second \([\d.]+ times\), \d+ of \d+ guesses were right$/
  )
  expect(stderr.join('\n')).toMatch(/nobody else hosts it/)
})

test('over other nodes: each hop, each link, and a sum that is the whole', async () => {
  swarm = await TestSwarm.start(['0-3', '3-8'])
  await bench('--json', '--no-speculation', '--codec', 'f16', ...peers(swarm))
  const report = JSON.parse(stdout.join(''))
  expect(report).toMatchObject({
    alone: false,
    tokens: TOKENS,
    chain_changes: 0,
    own: { blocks: 8 },
    guessed: null,
    codec: 'f16'
  })
  expect(report.hops.map(({ span }: { span: string }) => span)).toEqual(['0-3', '3-8'])
  const ids = swarm.nodes.map(({ host }) => host.peerId)
  expect(report.links.map(({ peer }: { peer: string }) => peer).toSorted()).toEqual(ids.toSorted())
  for (const link of report.links) {
    expect(link.way).toBe('direct')
    expect(link.round_trip_ms).toBeGreaterThan(0)
    expect(link.bytes_per_second).toBeGreaterThan(0) // both have the file, and give pieces of it
  }
  let sum = report.return_ms + report.rest_ms
  for (const { queue_ms, compute_ms, wire_ms } of report.hops) {
    expect(compute_ms).toBeGreaterThan(0)
    sum += queue_ms + compute_ms + wire_ms
  }
  expect(sum).toBeCloseTo(report.measured_ms, 1)
  expect(report.tokens_per_second).toBeCloseTo(1000 / report.measured_ms, 0)
  expect(report.predicted_ms).toBeGreaterThan(0)
  await swarm.allFree()
})

test('a model that nobody hosts, and that is not here, is said with what to do', async () => {
  await expect(bench('--model', 'f'.repeat(64))).rejects.toMatchObject({
    code: 'UNAVAILABLE',
    message: expect.stringContaining('--peer ADDRESS')
  })
  expect(stdout).toEqual([])
})

test.each([
  [['--model', 'nosuch'], { code: 'NAME' }],
  [['--tokens', '1'], { code: 'commander.invalidArgument' }],
  [['--wait', 'long'], { code: 'commander.invalidArgument' }]
])('%j is refused before anything is started', async (args, error) => {
  vi.spyOn(process.stderr, 'write').mockReturnValue(true) // commander's
  await expect(bench(...args)).rejects.toMatchObject(error)
  expect(stdout).toEqual([])
})

test('interrupted in mid-answer it ends at once, and leaves nothing with the nodes', async () => {
  swarm = await TestSwarm.start(['0-8'])
  const stage = swarm.nodes[0]?.stage
  const done = bench('--tokens', '900', ...peers(swarm))
  await vi.waitFor(() => expect(stage?.free.sequences).toBe(3), { timeout: 20_000, interval: 5 })
  interrupt.controller.abort()
  await done
  expect([process.exitCode, stdout]).toEqual([130, []])
  await swarm.allFree()
})
