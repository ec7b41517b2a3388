// Sharing that is paused, finished and begun again, while sessions run on real nodes.
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest'
import { DEMO, eventually, TestSwarm, wholeAnswer, wholeModel } from '../../test/swarm.ts'
import type { LlamaEngine } from '../engine/index.ts'
import { defaultSampler, openSession, type Session } from '../session/index.ts'
import { Node } from './node.ts'

const ENGINE = { context: 256, sessions: 1, threads: 1, gpuLayers: 0, kvType: 'f16' } as const
const TOKENS = 20
const BLOCKS = 8
const SAMPLER = defaultSampler()

let whole: LlamaEngine
let prompt: Int32Array
let expected: number[]
let swarm: TestSwarm
const sessions: Session[] = []

beforeAll(async () => {
  whole = wholeModel()
  ;[swarm] = await Promise.all([TestSwarm.start(['0-8']), whole.start()])
  prompt = await whole.tokenize('Tell me a story about a little fish.')
  expected = await wholeAnswer(whole, prompt, TOKENS)
})

afterAll(async () => {
  await Promise.all([swarm?.stop(), whole?.stop()])
})

afterEach(async () => {
  await Promise.all(sessions.splice(0).map((session) => session.close()))
})

function provider(): Node {
  return swarm.nodes[0] as Node
}

async function open(consumer: Node = swarm.consumer): Promise<Session> {
  const { host, relays } = consumer
  const session = await openSession(
    { host, relays },
    { chain: await swarm.chain(), reserve: 128, sampler: SAMPLER }
  )
  sessions.push(session)
  return session
}

/** The first tokens, and then the others. */
async function answer(session: Session, between: () => Promise<unknown> = async () => {}): Promise<number[]> {
  const drawn: number[] = []
  for await (const token of session.generate(prompt, { maxTokens: TOKENS, endTokens: new Set() })) {
    drawn.push(token)
    if (drawn.length === 5) await between()
  }
  return drawn
}

test('while it is paused, sessions go on, and nobody new is let in', async () => {
  const node = provider()
  const chain = await swarm.chain()
  const session = await open()
  const paused = async (): Promise<void> => {
    await node.sharing.pause('person', 'it was asked for')
    await node.sharing.pause('battery', 'the machine runs on its battery')
    expect([node.sharing.state, node.hosted, node.facts.sessions]).toEqual(['paused', [], 1])
    const { host, relays } = swarm.consumer
    const late = openSession({ host, relays }, { chain, reserve: 8, sampler: SAMPLER, waitMs: 500 })
    await expect(late).rejects.toThrow(/takes no new sessions|refus/)
  }
  expect(await answer(session, paused)).toEqual(expected)
  await node.sharing.resume('person')
  expect([node.sharing.state, node.sharing.placement]).toEqual([
    'paused',
    'paused: the machine runs on its battery'
  ])
  await node.sharing.resume('battery')
  expect(node.sharing.state).toBe('on')
  expect(await answer(await open())).toEqual(expected)
})

test('finished, it hosts nothing and asks on; then it hosts again', async () => {
  const node = provider()
  const session = await open()
  await answer(session)
  const finished = node.sharing.finish()
  expect([node.sharing.state, node.hosted]).toEqual(['finishing', []])
  expect(() => node.sharing.start()).toThrow(/still ending/)
  await session.close()
  await finished
  expect([node.sharing.state, node.stage, node.facts.sessions]).toEqual(['off', undefined, 0])
  expect(node.notReady).toBeUndefined()
  await node.sharing.start()
  expect([node.sharing.state, node.hosted.length]).toEqual(['on', 1])
  expect(await answer(await open())).toEqual(expected)
})

test('what others had of it is counted, what it computes for itself is not', async () => {
  const node = provider()
  const before = node.contributed.thisRun
  await answer(await open())
  await answer(await open(node))
  const rows = prompt.length + TOKENS - 1
  expect(node.contributed.thisRun.blockTokens - before.blockTokens).toBe(rows * BLOCKS)
  expect(node.contributed.thisRun.sessions - before.sessions).toBe(1)
})

test('a node that leaves says how many sessions had nowhere to go', async () => {
  const node = await swarm.host('0-8')
  const chain = await swarm.chain([node])
  const { host, relays } = swarm.consumer
  const session = await openSession({ host, relays }, { chain, reserve: 128, sampler: SAMPLER })
  sessions.push(session)
  const seen: number[] = []
  const onProgress = ({ sessions }: { sessions: number }): void => void seen.push(sessions)
  const leaving = (): Promise<void> => node.finish({ signal: AbortSignal.timeout(300), onProgress })
  expect(await answer(session, leaving)).toEqual(expected)
  expect([seen, node.notReady]).toEqual([[1], 'the node is leaving'])
  await session.close()
  await swarm.lose(node)
})

test('a node that chooses what it hosts begins when it is told to, and what could not be read is said', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'shoal-sharing-'))
  const node = new Node({
    ...{ dataDir: folder, listen: ['/ip4/127.0.0.1/tcp/0'], peers: [], startsSharing: false },
    contribution: { ...ENGINE, models: [DEMO], memoryBytes: 2 ** 30 }
  })
  try {
    await node.start()
    expect([node.sharing.state, node.facts.placement]).toEqual(['off', 'sharing is switched off'])
    node.sharing.configure({ models: [join(folder, 'gone.gguf')] })
    await expect(node.sharing.start()).rejects.toThrow(/no such file/)
    expect([node.sharing.state, node.sharing.placement]).toEqual([
      'off',
      expect.stringMatching(/no such file/)
    ])
    node.sharing.configure({ models: [DEMO] })
    await node.sharing.start()
    await eventually(() => expect(node.hosted.length).toBe(1))
    expect(node.sharing.state).toBe('on')
    await node.sharing.pause('person', 'it was asked for')
    expect([node.hosted, node.stage === undefined]).toEqual([[], false])
    await node.sharing.resume('person')
    expect(node.hosted.length).toBe(1)
    await node.sharing.finish()
    expect([node.sharing.state, node.stage]).toEqual(['off', undefined])
  } finally {
    await node.stop()
    await rm(folder, { recursive: true, force: true })
  }
})
