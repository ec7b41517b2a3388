/**
 * Round trips before the first token, over emulated links with nothing but delay: for a consumer that is connected to the
 * hops or not, and of further turns.
 */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { Node } from '../src/node/index.ts'
import { defaultSampler, openSession, type Session } from '../src/session/index.ts'
import { delayOf } from '../test/wan/index.ts'
import { type Bench, type Figure, median, rounded } from './bench.ts'
import { DEMO } from './demo.ts'
import { startWanChain, type WanChain } from './wan-chain.ts'

const PROMPT = [1, 300, 301, 302, 303, 304, 305, 306]
/** From the consumer along three hops and back, where all links are alike. */
const RING = 2

export const bench: Bench = {
  name: 'opening',
  description: 'round trips to open a session, and of each turn (--rtt MS --rounds N)',
  async run({ flags, log }) {
    const { values } = parseArgs({
      args: flags,
      options: { rtt: { type: 'string', default: '200' }, rounds: { type: 'string', default: '7' } }
    })
    const [rttMs, rounds] = [Number(values.rtt), Number(values.rounds)]
    const folder = await mkdtemp(join(tmpdir(), 'shoal-opening-'))
    const wan = await startWanChain({ path: DEMO, folder, context: 1_024, sessions: 4, threads: 1 })
    try {
      return await measure(wan, { rttMs, rounds, folder, log })
    } finally {
      await wan.stop()
      await rm(folder, { recursive: true })
    }
  }
}

interface Setup {
  readonly rttMs: number
  readonly rounds: number
  readonly folder: string
  readonly log: (message: string) => void
}

/** Milliseconds. */
interface Times {
  readonly open: number
  readonly first: number
  readonly second: number
  /** Another turn, with another sampler. */
  readonly other: number
}

async function measure(
  wan: WanChain,
  { rttMs, rounds, folder, log }: Setup
): Promise<Record<string, Figure>> {
  await talk(wan.node, wan) // connects the hops to each other
  const [warm, cold]: [Times[], Times[]] = [[], []]
  wan.link(delayOf(rttMs))
  for (let round = 0; round < rounds; round++) {
    log(`round ${round + 1} of ${rounds}`)
    warm.push(await talk(wan.node, wan))
    const dataDir = join(folder, `consumer-${round}`)
    const newcomer = new Node({ dataDir, listen: [], peers: [], ephemeral: true })
    await newcomer.start()
    cold.push(await talk(newcomer, wan))
    await newcomer.stop()
  }
  /** Computing included: a few rows of a small model take far less than a round trip. */
  const trips = (times: readonly Times[], part: keyof Times, ring: number): number[] => {
    return times.map((each) => rounded(each[part] / rttMs - ring))
  }
  const figure = (runs: readonly number[], note: string, target?: string): Figure => ({
    ...{ value: rounded(median(runs)), unit: 'round trips', runs, note },
    ...(target === undefined ? {} : { target })
  })
  return {
    'open, warm': figure(trips(warm, 'open', 0), 'connected to the hops', '<= 1.3'),
    'first token, warm': figure(trips(warm, 'first', RING), 'beyond the ring, once it is open', '<= 0.5'),
    'second turn': figure(trips(warm, 'second', RING), 'beyond the ring', '<= 0.5'),
    'another sampler': figure(trips(warm, 'other', RING), 'beyond the ring', '<= 0.5'),
    'open, cold': figure(trips(cold, 'open', 0), 'not connected to the hops'),
    'first token, cold': figure(trips(cold, 'first', RING), 'beyond the ring, once it is open')
  }
}

/** A session with three turns. */
async function talk({ host, relays }: Node, { chain }: WanChain): Promise<Times> {
  const started = performance.now()
  const session = await openSession({ host, relays }, { chain, sampler: defaultSampler(), reserve: 64 })
  const open = performance.now() - started
  try {
    const ids = [...PROMPT]
    const first = await turn(session, ids)
    const second = await turn(session, ids)
    return { open, first, second, other: await turn(session, ids, 1) }
  } finally {
    await session.close()
  }
}

async function turn(session: Session, ids: number[], seed?: number): Promise<number> {
  const sampler = seed === undefined ? {} : { sampler: defaultSampler({ temperature: 1, seed }) }
  const started = performance.now()
  for await (const token of session.generate(Int32Array.from(ids), {
    ...{ maxTokens: 1, endTokens: new Set<number>() },
    ...sampler
  })) {
    ids.push(token)
  }
  return performance.now() - started
}
