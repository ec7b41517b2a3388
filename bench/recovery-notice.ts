/** How soon a stage that stands still is noticed, and how often one is suspected that only is slow: R10. */
import { join } from 'node:path'
import { prefillRows } from '../src/swarm/index.ts'
import { ask, noticedAfter } from '../test/chaos/ask.ts'
import { Oracle } from '../test/chaos/oracle.ts'
import { Swarm } from '../test/chaos/providers.ts'
import type { Random } from '../test/models/random.ts'
import { type Figure, median, rounded } from './bench.ts'
import { DEMO, DEMO_SPANS, PROMPTS, pick } from './demo.ts'

/** Longer than a stall takes to be noticed: it begins anywhere in the first half. */
const TOKENS = 48
const LOAD_TOKENS = 32
const LOAD_SESSIONS = 12

interface Init {
  readonly folder: string
  readonly random: Random
  readonly log: (message: string) => void
}

/** From SIGSTOP of a node's process to the event. */
export async function measureStallNotice({
  folder,
  random,
  runs,
  log
}: Init & { readonly runs: number }): Promise<Record<string, Figure>> {
  const swarm = new Swarm(join(folder, 'notice'), {
    ...{ model: DEMO, spans: DEMO_SPANS, kinds: ['shoal', 'shoal'] },
    ...{ context: 1024, sessions: 8, threads: 1 }
  })
  const oracle = new Oracle(DEMO, 1024)
  const noticed: number[] = []
  const predicted: number[] = []
  try {
    await Promise.all([swarm.start(), oracle.start()])
    const prompt = await oracle.tokenize(PROMPTS[0] as string)
    const { host, relays } = swarm.consumer
    for (let run = 0; run < runs; run++) {
      const providers = DEMO_SPANS.map((span) => pick(random, swarm.of(span)))
      const victim = pick(random, providers)
      const freezeAt = 4 + Math.floor(random() * (TOKENS / 2))
      let at = 0
      const told = await ask(
        { host, relays, directory: swarm.directory },
        {
          ...{ chain: swarm.chain(providers), prompt, maxTokens: TOKENS },
          onToken: (count) => {
            if (count !== freezeAt) return
            at = performance.now()
            swarm.freeze(victim.pid)
          }
        }
      )
      const steps = told.tokensAt
        .slice(1, freezeAt)
        .map((time, index) => time - (told.tokensAt[index] as number))
      predicted.push(median(steps))
      noticed.push(noticedAfter(told, 'lost', at) / 1000)
      log(`stall ${run + 1} of ${runs}: noticed after ${noticed.at(-1)?.toFixed(2)} s`)
      await swarm.kill(victim)
      await swarm.replenish()
    }
  } finally {
    await Promise.all([swarm.stop(), oracle.stop()])
  }
  const stepMs = rounded(median(predicted))
  const note = `R10: a token took ${stepMs} ms of all stages, so that four times predicted is below a second`
  return {
    notice_stall: {
      ...{ value: rounded(median(noticed)), target: '<= 1', unit: 's', runs: noticed.map(rounded), note }
    },
    notice_stall_worst: { value: rounded(Math.max(...noticed)), target: '<= 1', unit: 's' }
  }
}

/**
 * Living stages that were given up, of frames that they computed, by more sessions than cores; and crowded, with two
 * threads for each of three stages: ggml's threads wait for each other at every step, so that steps take fifty times
 * as long.
 */
export async function measureSuspicions(
  init: Init & { readonly seconds: number }
): Promise<Record<string, Figure>> {
  return {
    false_suspicions: await measureLoad({ ...init, threads: 1 }),
    false_suspicions_crowded: await measureLoad({ ...init, threads: 2 })
  }
}

async function measureLoad({
  folder,
  random,
  seconds,
  threads,
  log
}: Init & { readonly seconds: number; readonly threads: number }): Promise<Figure> {
  const swarm = new Swarm(join(folder, `load-${threads}`), {
    ...{ model: DEMO, spans: DEMO_SPANS, kinds: ['shoal'] },
    ...{ context: 4096, sessions: 2 * LOAD_SESSIONS, threads }
  })
  const oracle = new Oracle(DEMO, 1024)
  let frames = 0
  let suspicions = 0
  let answers = 0
  let failures = 0
  try {
    await Promise.all([swarm.start(), oracle.start()])
    const prompts = await Promise.all(PROMPTS.map((text) => oracle.tokenize(text)))
    await oracle.stop()
    const chain = swarm.chain(DEMO_SPANS.map((span) => pick(random, swarm.of(span))))
    const { host, relays } = swarm.consumer
    log(`${LOAD_SESSIONS} sessions at once for ${seconds} s, ${threads} threads per stage`)
    const until = performance.now() + seconds * 1000
    const work = async (): Promise<void> => {
      while (performance.now() < until) {
        const prompt = pick(random, prompts)
        try {
          const told = await ask(
            { host, relays, directory: swarm.directory },
            { chain, prompt, maxTokens: LOAD_TOKENS }
          )
          for (const { event } of told.events) {
            if (event.type !== 'lost') continue
            suspicions += 1
            log(`suspected blocks ${event.hop.start}-${event.hop.end}: ${event.reason}`)
          }
          for (const rows of told.rows) {
            frames += rows - prompt.length + framesOf(prompt.length)
          }
          answers += 1
        } catch (error) {
          failures += 1
          log(`an answer ended: ${(error as Error).message}`)
        }
      }
    }
    await Promise.all(Array.from({ length: LOAD_SESSIONS }, work))
  } finally {
    await Promise.all([swarm.stop(), oracle.stop()])
  }
  return {
    ...{ value: rounded((suspicions * 10_000) / Math.max(1, frames)), target: '<= 1' },
    unit: 'per 10,000 frames',
    note:
      `R10: ${suspicions} of ${frames} frames; ${answers} answers in ${LOAD_SESSIONS} sessions at once, ` +
      `${failures} failed; ${threads} threads for each of 3 stages`
  }
}

function framesOf(promptRows: number): number {
  let frames = 0
  for (let left = promptRows; left > 0; left -= prefillRows(left)) frames += 1
  return frames
}
