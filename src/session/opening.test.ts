// Round trips that a session takes, over links with nothing but delay: what they cost is waited for by a person.
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest'
import { TestSwarm } from '../../test/swarm.ts'
import { delayOf, emulate, PROFILES } from '../../test/wan/index.ts'
import { defaultSampler } from './sampler.ts'
import { Talk } from './swarm-testing.ts'
import { NO_END } from './testing.ts'

/** Far above what three spans of the embedded model take to compute a few rows. */
const RTT_MS = 200
/** To the first hop, along the chain, and back. */
const RING = 2
const TIMES = 3
const PROMPT = [1, 300, 301, 302]

const links = emulate(PROFILES.none)
let swarm: TestSwarm
let talk: Talk | undefined

beforeAll(async () => {
  swarm = await TestSwarm.start(['0-3', '3-6', '6-8'])
  // Connections from hop to hop, and engines that have computed before.
  const warm = await Talk.open(swarm)
  await token(warm, PROMPT)
  await warm.session.close()
  links.profile = delayOf(RTT_MS)
})

afterEach(async () => {
  await talk?.session.close()
})

afterAll(async () => {
  links.profile = PROFILES.none
  await swarm?.stop()
})

/** The next token, and how many round trips it took; the engine's time counts. */
async function token({ session }: Talk, ids: readonly number[], seed?: number): Promise<[number, number]> {
  const sampler = seed === undefined ? {} : { sampler: defaultSampler({ temperature: 1, seed }) }
  const started = performance.now()
  const answer = session.generate(Int32Array.from(ids), { maxTokens: 1, endTokens: NO_END, ...sampler })
  const { value } = await answer.next()
  await answer.return()
  return [value as number, (performance.now() - started) / RTT_MS]
}

test('opens in one, and answers in what it takes along the chain and back, from the first turn on', async () => {
  const chain = await swarm.chain()
  const [opening, first, second, another]: number[][] = [[], [], [], []]
  for (let time = 0; time < TIMES; time++) {
    const started = performance.now()
    talk = await Talk.open(swarm, { chain, directory: undefined })
    opening?.push((performance.now() - started) / RTT_MS)
    const ids = [...PROMPT]
    for (const [seed, trips] of [
      [undefined, first],
      [undefined, second],
      [time, another]
    ] as const) {
      const [drawn, took] = await token(talk, ids, seed)
      ids.push(drawn)
      trips?.push(took)
    }
    await talk.session.close()
  }
  // Who else computes here makes some later, and none earlier.
  const [open, ...turns] = [opening, first, second, another].map((trips) => Math.min(...(trips ?? [])))
  expect(open).toBeGreaterThan(0.9)
  expect(open).toBeLessThan(1.5)
  for (const turn of turns) {
    expect(turn).toBeGreaterThan(RING - 0.1)
    expect(turn).toBeLessThan(RING + 0.5)
  }
})
