/**
 * Many short sessions, several at once, while providers are killed now and then: nothing may be lost or wrong, and
 * whoever lives through it must not grow. One provider of each span is never killed; the other is, and comes back.
 */
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { ask } from '../test/chaos/ask.ts'
import { Oracle } from '../test/chaos/oracle.ts'
import { engineOf, handlesOf, type Provider, Swarm } from '../test/chaos/providers.ts'
import { type Random, randomOf } from '../test/models/random.ts'
import { type Bench, type Figure, median, rounded } from './bench.ts'
import { DEMO, DEMO_SPANS, PROMPTS, pick } from './demo.ts'

/** Most tokens of an answer, and least. */
const TOKENS = { least: 8, most: 48 }
/** Sessions until memory is taken to be as it will stay. */
const WARM_UP = 100
/** Sessions between two looks at memory, and looks that a median is of. */
const SAMPLE_EVERY = 5
const SAMPLES = 10
const MIB = 1024 * 1024

interface Sample {
  /** Bytes of each survivor, its engine included. */
  readonly survivors: readonly number[]
  readonly consumer: number
  readonly handles: readonly number[]
  readonly consumerHandles: number
}

interface Count {
  sessions: number
  kills: number
  equal: number
  diverged: number
  wrong: number
  lost: number
  largestGap: number
}

export const bench: Bench = {
  name: 'soak',
  description:
    'sessions by the thousand while providers are killed (--sessions N --at-once N --kill-every N --seed N)',
  async run({ flags, log }) {
    const { values } = parseArgs({
      args: flags,
      options: {
        sessions: { type: 'string', default: '1000' },
        'at-once': { type: 'string', default: '4' },
        'kill-every': { type: 'string', default: '25' },
        seed: { type: 'string', default: '1' }
      }
    })
    const folder = await mkdtemp(join(tmpdir(), 'shoal-soak-'))
    const swarm = new Swarm(folder, {
      ...{ model: DEMO, spans: DEMO_SPANS, kinds: ['shoal', 'shoal'] },
      ...{ context: 1024, sessions: 8, threads: 1 }
    })
    const oracle = new Oracle(DEMO, 1024)
    try {
      log('starting two providers of each span')
      await Promise.all([swarm.start(), oracle.start()])
      const soak = new Soak(swarm, oracle, randomOf(`soak ${values.seed}`), log)
      return await soak.run(Number(values.sessions), Number(values['at-once']), Number(values['kill-every']))
    } finally {
      await Promise.all([swarm.stop(), oracle.stop()])
      await rm(folder, { recursive: true, force: true })
    }
  }
}

class Soak {
  readonly #swarm: Swarm
  readonly #oracle: Oracle
  readonly #random: Random
  readonly #log: (message: string) => void
  readonly #survivors: readonly Provider[]
  readonly #samples: Sample[] = []
  readonly #count: Count = {
    ...{ sessions: 0, kills: 0, equal: 0, diverged: 0, wrong: 0, lost: 0, largestGap: 0 }
  }
  #replenishing: Promise<void> = Promise.resolve()

  constructor(swarm: Swarm, oracle: Oracle, random: Random, log: (message: string) => void) {
    this.#swarm = swarm
    this.#oracle = oracle
    this.#random = random
    this.#log = log
    this.#survivors = DEMO_SPANS.map((span) => swarm.of(span)[0] as Provider)
  }

  async run(sessions: number, atOnce: number, killEvery: number): Promise<Record<string, Figure>> {
    const prompts = await Promise.all(PROMPTS.map((text) => this.#oracle.tokenize(text)))
    const started = performance.now()
    let next = 0
    const work = async (): Promise<void> => {
      while (next < sessions) {
        next += 1
        const isKilling = next % killEvery === 0
        await this.#session(pick(this.#random, prompts), isKilling)
        this.#count.sessions += 1
        const { sessions: done, kills } = this.#count
        if (done % SAMPLE_EVERY === 0) this.#samples.push(await this.#sample())
        if (done % 100 === 0) this.#log(`${done} of ${sessions} sessions, ${kills} kills`)
      }
    }
    await Promise.all(Array.from({ length: atOnce }, work))
    await this.#replenishing
    return this.#report((performance.now() - started) / 1000)
  }

  /** One answer through random providers; one of them that may die is killed in the middle. */
  async #session(prompt: Int32Array, isKilling: boolean): Promise<void> {
    const random = this.#random
    const known = this.#swarm.directory.stages.map(({ peer }) => peer)
    const providers = DEMO_SPANS.map((span) =>
      pick(
        random,
        this.#swarm.of(span).filter(({ peer }) => known.includes(peer))
      )
    )
    const maxTokens = TOKENS.least + Math.floor(random() * (TOKENS.most - TOKENS.least + 1))
    const killAt = 1 + Math.floor(random() * (maxTokens - 1))
    const onToken = (count: number): void => {
      if (isKilling && count === killAt) this.#kill(providers)
    }
    const { host, relays } = this.#swarm.consumer
    const components = { host, relays, directory: this.#swarm.directory }
    try {
      const chain = this.#swarm.chain(providers)
      const { tokens } = await ask(components, { chain, prompt, maxTokens, onToken })
      const { kind, divergences } = await this.#oracle.judge(prompt, tokens)
      const isWhole = tokens.length === maxTokens
      if (kind === 'equal' && isWhole) this.#count.equal += 1
      else if (kind === 'near-tie' && isWhole) this.#count.diverged += 1
      else {
        this.#count.wrong += 1
        this.#log(`wrong: ${tokens.length} of ${maxTokens} tokens, ${JSON.stringify(divergences)}`)
      }
      this.#count.largestGap = Math.max(this.#count.largestGap, divergences[0]?.gap ?? 0)
    } catch (error) {
      this.#count.lost += 1
      this.#log(`lost: ${(error as Error).message}`)
    }
  }

  /** Prefers one that is in use. */
  #kill(inUse: readonly Provider[]): void {
    const mortal = (providers: readonly Provider[]): Provider[] =>
      providers.filter(
        (provider) => !this.#survivors.includes(provider) && provider.process.exitCode === null
      )
    const [used, all] = [mortal(inUse), mortal(this.#swarm.providers)]
    if (all.length === 0) return // all of them are coming back
    this.#count.kills += 1
    const killed = this.#swarm.kill(pick(this.#random, used.length > 0 ? used : all))
    this.#replenishing = Promise.all([killed, this.#replenishing]).then(() => this.#swarm.replenish())
  }

  async #sample(): Promise<Sample> {
    const handles = await Promise.all(this.#survivors.map(({ pid }) => handlesOf(pid)))
    collectGarbage()
    return {
      survivors: await Promise.all(
        this.#survivors.map(
          async (provider) => (await resident(provider.pid)) + (await resident(await engineOf(provider)))
        )
      ),
      consumer: await resident(process.pid),
      handles: handles.map(({ all }) => all),
      consumerHandles: (await handlesOf(process.pid)).all
    }
  }

  #report(seconds: number): Record<string, Figure> {
    const { sessions, kills, equal, diverged, wrong, lost, largestGap } = this.#count
    const warm = WARM_UP / SAMPLE_EVERY
    const early = this.#samples.slice(warm, warm + SAMPLES)
    const late = this.#samples.slice(-SAMPLES)
    const typical = (samples: readonly Sample[], value: (sample: Sample) => number): number =>
      median(samples.map(value))
    const growth = (value: (sample: Sample) => number): number => typical(late, value) / typical(early, value)
    const describe = (value: (sample: Sample) => number): string =>
      `${Math.round(typical(early, value) / MIB)} to ${Math.round(typical(late, value) / MIB)} MiB`
    const survivors = this.#survivors.map((_, index) => (sample: Sample) => sample.survivors[index] as number)
    const handles = this.#survivors.map((_, index) => (sample: Sample) => sample.handles[index] as number)
    const more = (value: (sample: Sample) => number): number => typical(late, value) - typical(early, value)
    const how = `median of ${SAMPLES} looks at the end ÷ after ${WARM_UP} sessions, node and engine`
    return {
      lost: {
        ...{ value: lost, target: '<= 0', unit: `of ${sessions} sessions` },
        note: `${kills} kills in ${Math.round(seconds)} s`
      },
      wrong: {
        ...{ value: wrong, target: '<= 0', unit: `of ${sessions} sessions` },
        note: `${equal} equal, ${diverged} parted at a near-tie, largest gap ${rounded(largestGap)}`
      },
      memory: {
        ...{ value: rounded(Math.max(...survivors.map(growth))), target: '<= 1.1', unit: 'ratio' },
        note: `${how}: ${survivors.map(describe).join(', ')}`
      },
      consumer_memory: {
        ...{ value: rounded(growth(({ consumer }) => consumer)), target: '<= 1.1', unit: 'ratio' },
        note: `after collecting garbage: ${describe(({ consumer }) => consumer)}`
      },
      handles: {
        ...{ value: Math.max(...handles.map(more)), unit: 'more at the end' },
        note: `consumer: ${more(({ consumerHandles }) => consumerHandles)} more`
      }
    }
  }
}

async function resident(pid: number): Promise<number> {
  const status = await readFile(`/proc/${pid}/status`, 'utf8')
  return Number(/VmRSS:\s+(\d+)/.exec(status)?.[1]) * 1024
}

/** In this process: what it could free anyway says nothing. */
function collectGarbage(): void {
  setFlagsFromString('--expose-gc')
  const collect = runInNewContext('gc') as () => void
  collect()
}
