/**
 * What a lost stage costs: providers as processes, each span twice, killed with `kill -9` or stopped in the middle of
 * an answer. R9, R10 and R11; recovery-notice.ts and recovery-stall.ts have the parts.
 */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { ask, longestStall, noticedAfter } from '../test/chaos/ask.ts'
import { Oracle } from '../test/chaos/oracle.ts'
import { type Provider, Swarm } from '../test/chaos/providers.ts'
import { type Random, randomOf } from '../test/models/random.ts'
import { type Bench, type Figure, median, rounded } from './bench.ts'
import { DEMO, DEMO_SPANS, PROMPTS, pick } from './demo.ts'
import { measureStallNotice, measureSuspicions } from './recovery-notice.ts'
import { measureStalls } from './recovery-stall.ts'

const TOKENS = 48

export const bench: Bench = {
  name: 'recovery',
  description:
    'stages killed in mid-answer: R9, R10 and R11 (--answers N --seed N --stalls N --load SECONDS --rounds N)',
  async run({ flags, log }) {
    const { values } = parseArgs({
      args: flags,
      options: {
        answers: { type: 'string', default: '100' },
        seed: { type: 'string', default: '1' },
        stalls: { type: 'string', default: '10' },
        load: { type: 'string', default: '60' },
        rounds: { type: 'string', default: '3' }
      }
    })
    const random = randomOf(`recovery ${values.seed}`)
    const folder = await mkdtemp(join(tmpdir(), 'shoal-recovery-'))
    try {
      const parts = { folder, random, log }
      return {
        ...(await measureKills({ ...parts, answers: Number(values.answers), seed: values.seed })),
        ...(await measureStallNotice({ ...parts, runs: Number(values.stalls) })),
        ...(await measureSuspicions({ ...parts, seconds: Number(values.load) })),
        ...(await measureStalls({ ...parts, rounds: Number(values.rounds) }))
      }
    } finally {
      await rm(folder, { recursive: true, force: true })
    }
  }
}

interface Kill {
  /** Undefined where the answer ended with an error. */
  readonly verdict: 'equal' | 'near-tie' | 'wrong' | undefined
  readonly tokens: number
  readonly gap: number
  readonly noticedMs: number
  readonly stallMs: number
}

interface KillsInit {
  readonly folder: string
  readonly random: Random
  readonly answers: number
  readonly seed: string
  readonly log: (message: string) => void
}

/** R9, and the first half of R10. */
async function measureKills({
  folder,
  random,
  answers,
  seed,
  log
}: KillsInit): Promise<Record<string, Figure>> {
  const swarm = new Swarm(join(folder, 'kills'), {
    ...{ model: DEMO, spans: DEMO_SPANS, kinds: ['shoal', 'shoal'] },
    ...{ context: 1024, sessions: 8, threads: 1 }
  })
  const oracle = new Oracle(DEMO, 1024)
  const kills: Kill[] = []
  try {
    log('starting two providers of each span')
    await Promise.all([swarm.start(), oracle.start()])
    const prompts = await Promise.all(PROMPTS.map((text) => oracle.tokenize(text)))
    for (let index = 0; index < answers; index++) {
      kills.push(await killOne(swarm, oracle, pick(random, prompts), random, log))
      await swarm.replenish()
      if (index % 10 === 9) log(`${index + 1} of ${answers} answers`)
    }
    return report(kills, seed)
  } finally {
    await Promise.all([swarm.stop(), oracle.stop()])
  }
}

async function killOne(
  swarm: Swarm,
  oracle: Oracle,
  prompt: Int32Array,
  random: Random,
  log: (message: string) => void
): Promise<Kill> {
  const providers = DEMO_SPANS.map((span) => pick(random, swarm.of(span)))
  const victim = pick(random, providers) as Provider
  const killAt = 1 + Math.floor(random() * (TOKENS - 2))
  let at = 0
  let killed: Promise<void> | undefined
  const onToken = (count: number): void => {
    if (count !== killAt) return
    at = performance.now()
    killed = swarm.kill(victim)
  }
  try {
    const components = {
      host: swarm.consumer.host,
      relays: swarm.consumer.relays,
      directory: swarm.directory
    }
    const chain = swarm.chain(providers)
    const told = await ask(components, { chain, prompt, maxTokens: TOKENS, onToken })
    const { kind, divergences } = await oracle.judge(prompt, told.tokens)
    if (kind === 'wrong') log(`wrong after ${killAt} tokens: ${JSON.stringify(divergences)}`)
    return {
      ...{ verdict: kind, tokens: told.tokens.length, gap: divergences[0]?.gap ?? 0 },
      noticedMs: noticedAfter(told, 'lost', at),
      stallMs: longestStall(told, at)
    }
  } catch (error) {
    log(`an answer ended: ${(error as Error).message}`)
    return { verdict: undefined, tokens: 0, gap: 0, noticedMs: Number.NaN, stallMs: Number.NaN }
  } finally {
    await killed
  }
}

function report(kills: readonly Kill[], seed: string): Record<string, Figure> {
  const completed = kills.filter(({ verdict }) => verdict !== undefined)
  const of = (kind: Kill['verdict']): readonly Kill[] => kills.filter(({ verdict }) => verdict === kind)
  const gaps = completed.map(({ gap }) => gap)
  const noticed = completed.map(({ noticedMs }) => noticedMs / 1000).filter((value) => !Number.isNaN(value))
  const unit = `of ${kills.length} answers`
  const miscounted = completed.filter(({ tokens }) => tokens !== TOKENS).length
  return {
    R9: {
      ...{ value: completed.length, target: `>= ${kills.length}`, unit },
      note: `kill -9 of a random stage at a random token of ${TOKENS}, seed ${seed}`
    },
    equal: { value: of('equal').length, unit, note: 'the text is the undisturbed one' },
    diverged: {
      ...{ value: of('near-tie').length, unit },
      note: `at a near-tie; largest logit gap where the text parts: ${rounded(Math.max(0, ...gaps))}`
    },
    wrong: {
      ...{ value: of('wrong').length + miscounted, target: '<= 0', unit },
      note: 'tokens lost, repeated or not to be explained'
    },
    notice_reset: {
      ...{ value: rounded(median(noticed)), target: '<= 0.15', unit: 's' },
      note: `R10: from the kill to the event, median of ${noticed.length}`
    },
    notice_reset_worst: { value: rounded(Math.max(...noticed)), target: '<= 0.15', unit: 's' },
    kill_stall: {
      ...{ value: rounded(median(completed.map(({ stallMs }) => stallMs))), unit: 'ms' },
      note: 'longest time without a token after the kill, median: short contexts of a tiny model'
    }
  }
}
