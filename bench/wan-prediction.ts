/** R5: what the router would say that a token takes, before, and what it takes. */
import { predictedTokenMs } from '../src/node/bench-answer.ts'
import { delayOf } from '../test/wan/index.ts'
import { type Figure, median, rounded } from './bench.ts'
import { intervals, promptOf, startCrowd } from './crowd.ts'
import type { WanSetup } from './wan.bench.ts'
import type { WanChain } from './wan-chain.ts'

const PATIENCE_MS = 120_000
/** Tokens of each answer that are left out. */
const COLD_TOKENS = 4
/** Of an answer before each, as links do not change between answers elsewhere: steps are slower after longer pauses. */
const WARM_TOKENS = 8

interface Run {
  readonly predictedMs: number
  readonly measuredMs: number
}

/** Round trips in milliseconds, per link; their runs are interleaved. */
export async function measurePrediction(
  { wan, rounds, log }: WanSetup,
  rtts: readonly number[],
  tokens: number
): Promise<Record<string, Figure>> {
  const runs = new Map<number, Run[]>(rtts.map((rtt) => [rtt, []]))
  for (let round = -1; round < rounds; round++) {
    for (const rtt of rtts) {
      wan.link(delayOf(rtt))
      await tokenMs(wan, WARM_TOKENS)
      // All links are alike: what is measured from here is taken for those between stages, too. In a swarm,
      // coordinates say what those are (bench coordinates).
      const measured = await wan.roundTripMs()
      const signal = AbortSignal.timeout(PATIENCE_MS)
      const init = { chain: wan.chain, prompt: promptOf(rtt), tokens, roundTripMs: () => measured, signal }
      const predictedMs = await predictedTokenMs(wan.node, init)
      const measuredMs = await tokenMs(wan, tokens)
      if (round < 0) continue // the first only warms up
      runs.get(rtt)?.push({ predictedMs, measuredMs })
      log(
        `${rtt} ms per link (${measured.toFixed(2)} measured): predicted ${predictedMs.toFixed(1)} ms per token, ` +
          `measured ${measuredMs.toFixed(1)}`
      )
    }
  }
  return Object.fromEntries([...runs].map(([rtt, of]) => [`R5_${rtt}`, report(rtt, of)]))
}

/** The median from token to token of a session alone. */
async function tokenMs({ node, chain }: WanChain, tokens: number): Promise<number> {
  const crowd = await startCrowd(node, chain, { sessions: 1, tokens: COLD_TOKENS + tokens })
  try {
    await crowd.have(COLD_TOKENS + tokens)
    return median(intervals(crowd, 0, performance.now()).slice(COLD_TOKENS))
  } finally {
    await crowd.close()
  }
}

function report(rtt: number, runs: readonly Run[]): Figure {
  const predicted = median(runs.map(({ predictedMs }) => predictedMs))
  const measured = median(runs.map(({ measuredMs }) => measuredMs))
  const allowed = Math.max(1.5, 0.05 * measured)
  return {
    ...{ value: rounded(Math.abs(predicted - measured)), target: `<= ${rounded(allowed)}`, unit: 'ms off' },
    runs: runs.map(({ predictedMs, measuredMs }) => rounded(predictedMs - measuredMs)),
    note:
      `delay only, ${rtt} ms round trip per link: ${rounded(1000 / predicted)} tokens/s predicted, ` +
      `${rounded(1000 / measured)} measured; 5 % or 1.5 ms`
  }
}
