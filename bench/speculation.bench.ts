/**
 * Speculation on ÷ off (R6), each answer in a session of its own, with and without guesses by turns; and whether the text
 * is the same.
 */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import type { SamplerOptions } from '../src/net/index.ts'
import { defaultSampler } from '../src/session/index.ts'
import { profileNamed } from '../test/wan/index.ts'
import { type Bench, type BenchContext, type Figure, median, rounded } from './bench.ts'
import { PROMPTS } from './demo.ts'
import { type Guesser, SpeculationChain } from './speculation-chain.ts'

/** Of the model's own text, before what is measured: by then it repeats itself. */
const LEAD_TOKENS = 120
/** Above the model's temperature nothing is likely: as good as random ids. */
const HOSTILE_TEMPERATURE = 5
const NO_END: ReadonlySet<number> = new Set()

interface Kind {
  readonly sampler: SamplerOptions
  /** Text that the model has written already comes before the answer. */
  readonly isLed?: boolean
  /** The answer ends where the model ends it. */
  readonly ends?: boolean
  readonly guessers: readonly Guesser[]
  readonly target: (guesser: Guesser) => number | undefined
}

const KINDS: Record<string, Kind> = {
  repeated: {
    ...{ sampler: defaultSampler(), isLed: true, guessers: ['ngrams', 'both'] },
    target: () => 3.7
  },
  novel: {
    ...{ sampler: defaultSampler(), ends: true, guessers: ['ngrams', 'model', 'both'] },
    target: (guesser) => (guesser === 'ngrams' ? 1 : 2)
  },
  sampled: {
    ...{ sampler: defaultSampler({ temperature: 0.8, seed: 7 }), ends: true, guessers: ['ngrams', 'both'] },
    target: (guesser) => (guesser === 'ngrams' ? 1 : undefined)
  },
  hostile: {
    ...{
      sampler: defaultSampler({ temperature: HOSTILE_TEMPERATURE, seed: 3 }),
      guessers: ['ngrams', 'both']
    },
    target: () => undefined
  }
}
/** On any text, over any links. */
const LEAST = 0.97

interface Setup {
  readonly chain: SpeculationChain
  readonly prompts: readonly Int32Array[]
  readonly maxTokens: number
  readonly rounds: number
  readonly log: BenchContext['log']
}

export const bench: Bench = {
  name: 'speculation',
  description:
    'R6: tokens per second with guesses ÷ without, over emulated links; and whether the text is the same',
  async run({ flags, log }) {
    const { values } = parseArgs({
      args: flags,
      options: {
        profiles: { type: 'string', default: 'world,none' },
        kinds: { type: 'string', default: Object.keys(KINDS).join() },
        prompts: { type: 'string', default: String(PROMPTS.length) },
        tokens: { type: 'string', default: '120' },
        rounds: { type: 'string', default: '1' },
        same: { type: 'string', default: '200' }
      }
    })
    const folder = await mkdtemp(join(tmpdir(), 'shoal-speculation-'))
    const chain = await SpeculationChain.start(folder)
    try {
      const texts = PROMPTS.slice(0, Number(values.prompts))
      const prompts = await Promise.all(texts.map((text) => chain.model.tokenize(text)))
      const setup = { chain, prompts, maxTokens: Number(values.tokens), rounds: Number(values.rounds), log }
      const figures: Record<string, Figure> = {}
      for (const profile of values.profiles.split(',')) {
        chain.wan(profileNamed(profile))
        for (const name of values.kinds.split(',')) {
          const kind = KINDS[name]
          if (kind === undefined) throw new Error(`there is no kind of text ${name}`)
          log(`${name} text, ${profile}`)
          Object.assign(figures, await measure(setup, `${name}_${profile}`, kind))
        }
      }
      return figures
    } finally {
      await chain.stop()
      await rm(folder, { recursive: true, force: true })
    }
  }
}

async function measure(setup: Setup, name: string, kind: Kind): Promise<Record<string, Figure>> {
  const { chain, maxTokens, rounds, log } = setup
  const ratios = new Map<Guesser, number[]>(kind.guessers.map((guesser) => [guesser, []]))
  const accepted = new Map<Guesser, string[]>(kind.guessers.map((guesser) => [guesser, []]))
  const endTokens = kind.ends === true ? new Set(chain.model.description.endTokens) : NO_END
  const plain: number[] = []
  for (let round = 0; round < rounds; round++) {
    for (const prompt of await promptsOf(setup, kind)) {
      const answer = (guesser: Guesser) => chain.answer(prompt, maxTokens, kind.sampler, guesser, endTokens)
      const off = await answer('nobody')
      plain.push(off.tokenMs)
      for (const guesser of kind.guessers) {
        const on = await answer(guesser)
        const isSame = on.tokens.every((token, index) => token === off.tokens[index])
        if (!isSame || on.tokens.length !== off.tokens.length)
          throw new Error(`${name}: another text with ${guesser}`)
        ratios.get(guesser)?.push(off.tokenMs / on.tokenMs)
        const { sent = 0, right = 0, windows = 0, isOn } = on.speculation ?? {}
        accepted.get(guesser)?.push(`${right}/${sent}`)
        log(
          `  ${guesser}: ${on.tokens.length} tokens, ${off.tokenMs.toFixed(1)} -> ${on.tokenMs.toFixed(1)} ms, ` +
            `${right} of ${sent} guesses right in ${windows} windows${isOn ? '' : ', off in the end'}`
        )
      }
    }
  }
  const figures: Record<string, Figure> = {}
  for (const [guesser, runs] of ratios) {
    const target = kind.target(guesser)
    const value = rounded(median(runs))
    const note = `without: ${rounded(median(plain))} ms per token; right of sent: ${accepted.get(guesser)?.join(' ')}`
    const isFar = name.endsWith('world')
    figures[`${name}_${guesser}`] = {
      ...{ value, target: `>= ${isFar && target !== undefined ? target : LEAST}`, unit: 'on / off' },
      ...{ runs: runs.map(rounded), note }
    }
  }
  return figures
}

async function promptsOf(
  { chain, prompts }: Setup,
  { isLed, sampler }: Kind
): Promise<readonly Int32Array[]> {
  if (isLed !== true) return prompts
  const led: Int32Array[] = []
  for (const prompt of prompts) {
    const { tokens } = await chain.answer(prompt, LEAD_TOKENS, sampler, 'ngrams', NO_END)
    led.push(Int32Array.from([...prompt, ...tokens]))
  }
  return led
}
