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
import { delayOf, profileNamed } from '../test/wan/index.ts'
import { type Bench, type BenchContext, type Figure, median, rounded } from './bench.ts'
import { PROMPTS } from './demo.ts'
import { type Answer, type Guesser, SpeculationChain } from './speculation-chain.ts'

/** Of the model's own text, before what is measured: by then it repeats itself. */
const LEAD_TOKENS = 240
/** Above the model's temperature nothing is likely: as good as random ids. */
const HOSTILE_TEMPERATURE = 5
const NO_END: ReadonlySet<number> = new Set()
const HOW = ['little', 'big', 'sad', 'happy', 'red', 'brave', 'lost', 'old', 'funny', 'shy']
const WHO = [
  ...['fish', 'dog', 'cat', 'bird', 'boy', 'girl', 'bear', 'frog', 'ball', 'tree'],
  ...['car', 'boat', 'duck', 'mouse', 'star', 'king', 'house', 'train', 'flower', 'dragon']
]

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
/** Where a token takes milliseconds, the machine's own scatter is large, and answers are short. */
const NEAR_ROUNDS = 4
/** For the same text, milliseconds: links on which windows are under way, and answers soon there. */
const SAME_RTT = 5
const SAME_TOKENS = 40

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
        prompts: { type: 'string', default: '3' },
        tokens: { type: 'string', default: '60' },
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
        const rounds = Number(values.rounds) * (profile === 'world' ? 1 : NEAR_ROUNDS)
        for (const name of values.kinds.split(',').filter((kind) => kind !== '')) {
          const kind = KINDS[name]
          if (kind === undefined) throw new Error(`there is no kind of text ${name}`)
          log(`${name} text, ${profile}`)
          Object.assign(figures, await measure({ ...setup, rounds }, `${name}_${profile}`, kind))
        }
      }
      chain.wan(delayOf(SAME_RTT))
      const count = Number(values.same)
      for (const sampler of count === 0
        ? []
        : [defaultSampler(), defaultSampler({ temperature: 0.8, seed: 11 })]) {
        const name = sampler.temperature === 0 ? 'same_greedy' : 'same_drawn'
        figures[name] = await sameness(setup, sampler, count)
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
  const isFar = name.endsWith('world')
  const plain: number[] = []
  for (let round = 0; round < rounds; round++) {
    for (const prompt of await promptsOf(setup, kind)) {
      const answer = (guesser: Guesser) => chain.answer(prompt, maxTokens, kind.sampler, guesser, endTokens)
      let off = await answer('nobody')
      for (const guesser of kind.guessers) {
        const on = await answer(guesser)
        const before = off
        if (!isFar) off = await answer('nobody') // before and after, as the machine's speed drifts
        const offMs = (before.tokenMs + off.tokenMs) / 2
        plain.push(offMs)
        if (on.tokens.join() !== off.tokens.join()) {
          log(`  another text with ${guesser}: ${eventsOf(off)}; ${eventsOf(on)}`)
          continue // tokens of different texts say nothing of each other
        }
        ratios.get(guesser)?.push(offMs / on.tokenMs)
        const { sent = 0, right = 0, windows = 0, isOn } = on.speculation ?? {}
        accepted.get(guesser)?.push(`${right}/${sent}`)
        log(
          `  ${guesser}: ${on.tokens.length} tokens, ${offMs.toFixed(1)} -> ${on.tokenMs.toFixed(1)} ms, ` +
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
    figures[`${name}_${guesser}`] = {
      ...{ value, target: `>= ${isFar && target !== undefined ? target : LEAST}`, unit: 'on / off' },
      ...{ runs: runs.map(rounded), note }
    }
  }
  return figures
}

/** How many texts are the same. */
async function sameness({ chain, log }: Setup, sampler: SamplerOptions, count: number): Promise<Figure> {
  const ends = new Set(chain.model.description.endTokens)
  let same = 0
  let [sent, right, unsteady] = [0, 0, 0]
  for (let index = 0; index < count; index++) {
    const prompt = await chain.model.tokenize(storyPrompt(index))
    const off = await chain.answer(prompt, SAME_TOKENS, sampler, 'nobody', ends)
    const on = await chain.answer(prompt, SAME_TOKENS, sampler, 'both', ends)
    sent += on.speculation?.sent ?? 0
    right += on.speculation?.right ?? 0
    if (off.tokens.join() === on.tokens.join()) {
      same += 1
      continue
    }
    // Without guesses a text may differ from itself, where a session's cells lie otherwise in the KV cache.
    const again = await chain.answer(prompt, SAME_TOKENS, sampler, 'nobody', ends)
    if (again.tokens.join() !== off.tokens.join()) unsteady += 1
    log(`another text after: ${storyPrompt(index)} ${eventsOf(off)}; ${eventsOf(on)}`)
  }
  const note = `${SAME_RTT} ms, temperature ${sampler.temperature}; ${right} of ${sent} guesses right; others: ${unsteady} differed without guesses, too`
  return { value: same, target: `>= ${count}`, unit: `of ${count} texts`, note }
}

function eventsOf({ events }: Answer): string {
  return events.map((event) => ('reason' in event ? `${event.type}: ${event.reason}` : event.type)).join(', ')
}

/** 200 different ones. */
function storyPrompt(index: number): string {
  const who = WHO[index % WHO.length]
  return `Tell me a story about a ${HOW[Math.floor(index / WHO.length) % HOW.length]} ${who}.`
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
