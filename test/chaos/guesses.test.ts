// Faults while guesses are under way: over links that are long enough for it to pay. All of the chaos suite's scenarios
// so: SHOAL_CHAOS_WAN=world SHOAL_CHAOS_GUESSES=1 npx vitest run test/chaos/chaos.test.ts
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { DEMO } from '../swarm.ts'
import { emulate, PROFILES, profileNamed } from '../wan/index.ts'
import { Guessing } from './guessing.ts'
import { Prober } from './leaks.ts'
import { Oracle } from './oracle.ts'
import { play } from './play.ts'
import { Swarm } from './providers.ts'
import { scenarios } from './scenarios.ts'

const PROFILE = 'city'
const CONTEXT = 1024
const CHOSEN = new Set([
  'kill while decoding',
  'kill under load',
  'engine hangs',
  'node leaves',
  'link cut',
  'lost frame'
])
const TIMEOUT = 120_000

const links = emulate(PROFILES.none)
const oracle = new Oracle(DEMO, CONTEXT)
const prober = new Prober()
const guessing = new Guessing(CONTEXT)
let folder: string
let swarm: Swarm

beforeAll(async () => {
  links.profile = profileNamed(PROFILE)
  folder = await mkdtemp(join(tmpdir(), 'shoal-guesses-'))
  swarm = new Swarm(folder, {
    ...{ model: DEMO, spans: ['0-3', '3-6', '6-8'], kinds: ['shoal', 'faulty'] },
    ...{ context: CONTEXT, sessions: 8, threads: 1, profile: PROFILE }
  })
  await Promise.all([swarm.start(), oracle.start(), prober.start(), guessing.start()])
})

afterAll(async () => {
  await Promise.all([swarm?.stop(), oracle.stop(), prober.stop(), guessing.stop()])
  links.profile = PROFILES.none
  await rm(folder, { recursive: true, force: true })
})

describe('an answer with guesses under way goes on:', () => {
  test.each(scenarios.filter(({ name }) => CHOSEN.has(name)))(
    '$name',
    async (scenario) => {
      const played = await play({ swarm, oracle, prober, guessing }, scenario, `guesses ${scenario.name}`)
      expect(played.problems, played.fault).toEqual([])
      expect(played.guesses).toBeGreaterThan(0)
    },
    TIMEOUT
  )
})
