/** What the whole model would have said, and how near it was to saying what was said instead. */
import { LlamaEngine } from '../../src/engine/index.ts'
import { prefillRows } from '../../src/swarm/index.ts'

/**
 * The same row alone or in a batch differs by up to 0.19 in the demo model's logits (docs/BENCHMARKS.md), so two
 * tokens that are nearer than twice that may change places.
 */
export const NEAR_TIE = 0.4

export interface Divergence {
  /** Of the token in the answer. */
  readonly index: number
  /** By how much another token was ahead in the whole model's logits. */
  readonly gap: number
}

export interface Verdict {
  readonly kind: 'equal' | 'near-tie' | 'wrong'
  /** Where other tokens than the most likely one were said; the first one is where the text parted. */
  readonly divergences: readonly Divergence[]
}

export class Oracle {
  readonly #engine: LlamaEngine
  readonly #answers = new Map<string, Promise<readonly number[]>>()
  /** The engine has one sequence: one question after the other. */
  #turn: Promise<unknown> = Promise.resolve()

  constructor(model: string, context: number) {
    this.#engine = new LlamaEngine({ files: [model], context, sequences: 1, threads: 1, gpuLayers: 0 })
  }

  start(): Promise<void> {
    return this.#engine.start()
  }

  stop(): Promise<void> {
    return this.#engine.stop()
  }

  tokenize(text: string): Promise<Int32Array> {
    return this.#engine.tokenize(text)
  }

  #alone<T>(ask: () => Promise<T>): Promise<T> {
    const answer = this.#turn.then(ask)
    this.#turn = answer.catch(() => {})
    return answer
  }

  /** The undisturbed answer. */
  answer(prompt: Int32Array, count: number): Promise<readonly number[]> {
    const key = `${count} ${prompt.join()}`
    const known = this.#answers.get(key) ?? this.#alone(() => this.#generate(prompt, count))
    this.#answers.set(key, known)
    return known
  }

  /** End tokens are tokens like others. */
  async #generate(prompt: Int32Array, count: number): Promise<number[]> {
    const answer: number[] = []
    let logits = await this.#prefill(prompt)
    for (;;) {
      answer.push(logits.indexOf(largest(logits)))
      if (answer.length === count) return answer
      const position = prompt.length + answer.length - 1
      logits = await this.#logits(position, Int32Array.of(answer.at(-1) as number))
    }
  }

  async judge(prompt: Int32Array, answer: readonly number[]): Promise<Verdict> {
    const expected = await this.answer(prompt, answer.length)
    if (expected.every((token, index) => token === answer[index])) return { kind: 'equal', divergences: [] }
    const divergences = await this.#alone(() => this.#compare(prompt, answer))
    const isNear = divergences.every(({ gap }) => gap < NEAR_TIE)
    return { kind: isNear ? 'near-tie' : 'wrong', divergences }
  }

  /** Each token of the answer against the logits after the prompt and the tokens before it. */
  async #compare(prompt: Int32Array, answer: readonly number[]): Promise<Divergence[]> {
    let logits = await this.#prefill(prompt)
    const divergences: Divergence[] = []
    for (const [index, token] of answer.entries()) {
      const gap = largest(logits) - (logits[token] ?? Number.NEGATIVE_INFINITY)
      if (gap > 0) divergences.push({ index, gap })
      logits = await this.#logits(prompt.length + index, Int32Array.of(token))
    }
    return divergences
  }

  /** The logits after the prompt. */
  async #prefill(prompt: Int32Array): Promise<Float32Array> {
    await this.#engine.drop(0)
    let logits = new Float32Array()
    let position = 0
    while (position < prompt.length) {
      const next = position + prefillRows(prompt.length - position) // as a session cuts it
      logits = await this.#logits(position, prompt.subarray(position, next))
      position = next
    }
    return logits
  }

  async #logits(position: number, tokens: Int32Array): Promise<Float32Array<ArrayBuffer>> {
    const { groups } = await this.#engine.run([{ sequence: 0, position, tokens, output: 'logits-last' }])
    const [group] = groups
    if (group?.logits === undefined) throw group?.error ?? new Error('no logits')
    return group.logits as Float32Array<ArrayBuffer>
  }
}

function largest(values: Float32Array): number {
  return values.reduce((best, value) => Math.max(best, value))
}
