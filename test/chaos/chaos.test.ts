// Real processes with seeded faults, and answers that must be what they would have been without.
//
// SHOAL_CHAOS_SEED=N: other faults, the same ones each time. SHOAL_CHAOS_ROUNDS=N (`npm run test:chaos`): so many of
// each scenario. SHOAL_CHAOS_ONLY=NAME: those whose name has it. SHOAL_CHAOS_REPORT=FILE: where the report goes.
// SHOAL_CHAOS_WAN=world: over emulated links of that profile, see docs/WAN.md. SHOAL_CHAOS_GUESSES=1: answers guess ahead.
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { DEMO } from '../swarm.ts'
import { emulate, type ProfileName, profileNamed } from '../wan/index.ts'
import { Guessing } from './guessing.ts'
import { Prober } from './leaks.ts'
import { Oracle } from './oracle.ts'
import { type Played, play, summary } from './play.ts'
import { Swarm } from './providers.ts'
import { scenarios } from './scenarios.ts'

const SEED = process.env.SHOAL_CHAOS_SEED ?? '1'
const ROUNDS = Number(process.env.SHOAL_CHAOS_ROUNDS ?? 1)
const REPORT = process.env.SHOAL_CHAOS_REPORT ?? join(tmpdir(), 'shoal-chaos-report.json')
const ONLY = process.env.SHOAL_CHAOS_ONLY ?? ''
const GUESSING = process.env.SHOAL_CHAOS_GUESSES === '1' ? new Guessing(1024) : undefined
const WAN = process.env.SHOAL_CHAOS_WAN as ProfileName | undefined
/**
 * A second or two each, some fifteen over far links; an answer that does not come, and places that are not freed, are
 * given up before.
 */
const TIMEOUT = ROUNDS * (WAN === undefined ? 90_000 : 180_000)

let folder: string
let swarm: Swarm
let oracle: Oracle
let prober: Prober
const report: Played[] = []

beforeAll(async () => {
  if (WAN !== undefined) emulate(profileNamed(WAN))
  folder = await mkdtemp(join(tmpdir(), 'shoal-chaos-'))
  swarm = new Swarm(folder, {
    ...{ model: DEMO, spans: ['0-3', '3-6', '6-8'], kinds: ['shoal', 'faulty'] },
    ...{ context: 1024, sessions: 8, threads: 1, profile: WAN }
  })
  oracle = new Oracle(DEMO, 1024)
  prober = new Prober()
  await Promise.all([swarm.start(), oracle.start(), prober.start(), GUESSING?.start()])
})

afterAll(async () => {
  await writeFile(
    REPORT,
    JSON.stringify({ seed: SEED, rounds: ROUNDS, links: WAN ?? 'loopback', played: report }, null, 2)
  )
  console.log(
    `${summary(report)}\nlinks: ${WAN ?? 'loopback'}, seed ${SEED} (SHOAL_CHAOS_SEED), report in ${REPORT}`
  )
  await Promise.all([swarm?.stop(), oracle?.stop(), prober?.stop(), GUESSING?.stop()])
  await rm(folder, { recursive: true, force: true })
})

describe('an answer goes on, and nothing is left behind:', () => {
  const chosen = scenarios.filter(({ name }) => name.includes(ONLY))
  test.each(chosen)(
    '$name',
    async (scenario) => {
      for (let round = 1; round <= ROUNDS; round++) {
        const played = await play(
          { swarm, oracle, prober, guessing: GUESSING },
          scenario,
          `${SEED} ${round} ${scenario.name}`
        )
        report.push(played)
        expect(played.problems, `${played.fault} (seed ${SEED}, round ${round})`).toEqual([])
      }
    },
    TIMEOUT
  )
})
