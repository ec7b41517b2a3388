// Many sessions that open at once, when no two of the processes have a connection yet.
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, expect, test } from 'vitest'
import { type Provider, startProvider } from '../bench/providers.ts'
import { Node } from '../src/node/index.ts'
import { type ChainEvent, defaultSampler, openSession } from '../src/session/index.ts'
import { findChain, NamedNodes } from '../src/swarm/index.ts'
import { DEMO } from './swarm.ts'

const SESSIONS = 32
const FLAGS = ['--threads', '1', '--context', '4096', '--sessions', String(SESSIONS), '--gpu-layers', '0']

const providers: Provider[] = []
const folder = await mkdtemp(join(tmpdir(), 'shoal-burst-'))
const consumer = new Node({ dataDir: folder, listen: [], peers: [], ephemeral: true })

afterAll(async () => {
  await Promise.all([consumer.stop(), ...providers.map((provider) => provider.stop())])
  await rm(folder, { recursive: true, force: true })
})

test('32 sessions at once have their chains, and no hop of any goes another way', async () => {
  await consumer.start()
  for (const blocks of ['0-3', '3-6', '6-8']) {
    providers.push(await startProvider({ model: DEMO, blocks, folder, flags: FLAGS }))
  }
  const { host, relays } = consumer
  const directory = new NamedNodes({ host }, { addresses: providers.map(({ address }) => address) })
  await directory.refresh()
  const chain = findChain(directory.stages, directory.stages[0]?.stage.model as string)
  const events: ChainEvent[] = []
  const init = { chain, sampler: defaultSampler(), reserve: 64 }
  const sessions = await Promise.all(
    Array.from({ length: SESSIONS }, () =>
      openSession({ host, relays, directory }, { ...init, onEvent: (event) => events.push(event) })
    )
  )
  await Promise.all(sessions.map((session) => session.close()))
  expect(events).toEqual([])
})
