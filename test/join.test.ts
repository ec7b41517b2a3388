// Processes that know one address host a model together, and again after one of them is killed.
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { SwarmOfProcesses } from '../bench/processes.ts'
import { DEMO } from './swarm.ts'

/** Three blocks of the demo model, or two and its head or its embedding: eight blocks need three nodes. */
const MEMORY_BYTES = 1_150_000
const NODES = 4
const SOON_MS = 50_000

let folder: string
let swarm: SwarmOfProcesses

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'shoal-join-'))
  swarm = new SwarmOfProcesses(folder)
  await swarm.start(DEMO)
})

afterAll(async () => {
  await swarm.stop()
  await rm(folder, { recursive: true, force: true })
})

test('a model is covered by nodes that decide for themselves, and stays so when one dies', async () => {
  await Promise.all(Array.from({ length: NODES }, () => swarm.add(MEMORY_BYTES)))
  await swarm.covered(performance.now(), SOON_MS)
  expect(swarm.stages.every(({ stage }) => stage.end - stage.start < 8)).toBe(true)
  const [needed] = [...swarm.running].toSorted((a, b) => swarm.dependants(b) - swarm.dependants(a))
  await swarm.kill(needed === undefined ? [] : [needed])
  expect(await swarm.covered(performance.now(), SOON_MS)).toBeGreaterThan(1)
}, 120_000)
