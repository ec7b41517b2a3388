/** R8: sessions enough to fill the time that rows are under way. */
import { timeAnswer } from '../src/node/bench-answer.ts'
import { delayOf, PROFILES, type WanProfile } from '../test/wan/index.ts'
import { type Figure, median, rounded } from './bench.ts'
import { promptOf, startCrowd } from './crowd.ts'
import type { WanSetup } from './wan.bench.ts'

const RTT_MS = 100
/** Tokens of each session before the window that is measured. */
const WARM_UP = 4
/** Most tokens of a session: enough for the window. */
const MOST_TOKENS = 480
const PATIENCE_MS = 60_000
const ALONE_TOKENS = 24

export async function measureCrowds(
  setup: WanSetup,
  limits: { readonly sessions: number | undefined; readonly most: number; readonly seconds: number }
): Promise<Record<string, Figure>> {
  const { wan, rounds, log } = setup
  const profile = delayOf(RTT_MS)
  wan.link(profile)
  const roundTrip = await wan.roundTripMs()
  const alone = await timeAnswer(wan.node, {
    ...{ chain: wan.chain, prompt: promptOf(0), tokens: ALONE_TOKENS, roundTripMs: () => roundTrip },
    signal: AbortSignal.timeout(PATIENCE_MS)
  })
  const stepMs = Math.max(...alone.hops.map(({ computeMs }) => computeMs))
  const wanted = Math.round((2 * alone.tokenMs) / stepMs)
  const sessions = limits.sessions ?? Math.min(limits.most, wanted)
  log(`a ring of ${alone.tokenMs.toFixed(0)} ms, a step of ${stepMs.toFixed(1)} ms: ${sessions} sessions`)
  const runs: { readonly near: number; readonly far: number }[] = []
  for (let round = -1; round < rounds; round++) {
    const near = await tokensPerSecond(setup, PROFILES.none, sessions, limits.seconds)
    const far = await tokensPerSecond(setup, profile, sessions, limits.seconds)
    if (round < 0) continue // the stages have never had so many
    runs.push({ near, far })
    log(`${near.toFixed(1)} tokens/s without delay, ${far.toFixed(1)} at ${RTT_MS} ms`)
  }
  const ratios = runs.map(({ near, far }) => far / near)
  const of = (value: (run: (typeof runs)[number]) => number): number => rounded(median(runs.map(value)))
  return {
    R8: {
      ...{ value: rounded(median(ratios)), target: '>= 0.90', unit: 'ratio', runs: ratios.map(rounded) },
      note:
        `delay only: ${of(({ far }) => far)} tokens/s at ${RTT_MS} ms per link, ${of(({ near }) => near)} at none, ` +
        `${sessions} sessions (2 x ${rounded(alone.tokenMs)} / ${rounded(stepMs)} ms would be ${wanted})`
    }
  }
}

async function tokensPerSecond(
  { wan }: WanSetup,
  profile: WanProfile,
  sessions: number,
  seconds: number
): Promise<number> {
  wan.link(profile)
  const crowd = await startCrowd(wan.node, wan.chain, { sessions, tokens: MOST_TOKENS })
  try {
    await crowd.have(WARM_UP)
    const started = performance.now()
    const ended = started + 1000 * seconds
    for (let count = WARM_UP + 1; performance.now() < ended && count < MOST_TOKENS; count++)
      await crowd.have(count)
    const until = Math.min(ended, performance.now())
    const tokens = crowd.times.flat().filter((time) => time > started && time <= until).length
    return (1000 * tokens) / (until - started)
  } finally {
    await crowd.close()
  }
}
