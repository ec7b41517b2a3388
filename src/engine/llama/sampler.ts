/** A sequence's sampler: llama.cpp's chain, kept in step with the sequence's token ids. */
import koffi from 'koffi'
import type { SamplerSettings } from '../contract.ts'
import { Constraint, type Cursor } from '../grammar/constraint.ts'
import { Candidates } from './candidates.ts'
import type { Llama, Pointer } from './library.ts'
import { LogitBias } from './structs.ts'
import type { Vocabulary } from './vocabulary.ts'

/** No chain cuts below one candidate. */
const MIN_KEEP = 1
/** Below this a temperature draws the most likely token anyway, and logits divided by it would overflow. */
const LOWEST_TEMPERATURE = 1e-4
/**
 * Bias of a banned token, in place of -Infinity: never drawn while any other is left (no logit comes near), yet
 * finite when divided by the lowest temperature, and still distinct from what a grammar rules out.
 */
const BAN = -1e30

/**
 * Draw number for a position: splitmix32 of seed and position, so that neighbours are unrelated.
 * `0xffffffff` means "random" to llama.cpp and is avoided.
 */
export function drawSeed(seed: number, position: number): number {
  let x = (seed ^ Math.imul(position + 1, 0x9e3779b9)) >>> 0
  x = Math.imul(x ^ (x >>> 16), 0x21f0aaad) >>> 0
  x = Math.imul(x ^ (x >>> 15), 0x735a2d97) >>> 0
  x = (x ^ (x >>> 15)) >>> 0
  return x === 0xffffffff ? 0 : x
}

export class SequenceSampler {
  readonly #llama: Llama
  readonly #vocabulary: Vocabulary
  readonly #settings: SamplerSettings
  readonly #greedy: boolean
  readonly #dryLastN: number
  readonly #chain: Pointer
  readonly #constraint: Constraint | undefined
  /** Where the grammar stands after the ids that were accepted. */
  #cursor: Cursor | undefined
  readonly #candidates: Candidates
  /** A grammar that took too much time; there is no draw after that. */
  #failure: unknown
  /** Ids that the chain has accepted, from position 0. */
  readonly #accepted: number[] = []

  /** `context`: how far back a penalty over everything reaches. */
  constructor(llama: Llama, vocabulary: Vocabulary, settings: SamplerSettings, context: number) {
    this.#llama = llama
    this.#vocabulary = vocabulary
    this.#settings = settings
    const dryLastN = settings.dry?.penaltyLastN ?? 0
    this.#dryLastN = dryLastN < 0 ? context : dryLastN // llama.cpp takes -1 for 0
    this.#greedy = settings.temperature < LOWEST_TEMPERATURE
    const { grammar, grammarTriggers = [] } = settings
    this.#constraint =
      grammar === undefined ? undefined : new Constraint(vocabulary.table, grammar, grammarTriggers)
    this.#cursor = this.#constraint?.start
    this.#candidates = new Candidates(this.#constraint === undefined ? 0 : vocabulary.size)
    this.#chain = this.#buildChain()
  }

  #buildChain(): Pointer {
    const llama = this.#llama
    const settings = this.#settings
    const { size: vocabulary, pointer } = this.#vocabulary
    const chain = llama.llama_sampler_chain_init({ no_perf: true }) as Pointer
    const add = (sampler: Pointer): void => llama.llama_sampler_chain_add(chain, sampler)
    const { logitBias, dry, penaltyLastN = 0 } = settings
    if (logitBias !== undefined && logitBias.length > 0) {
      const biases = koffi.alloc(LogitBias, logitBias.length)
      const finite = logitBias.map(({ token, bias }) => ({ token, bias: bias ?? BAN })) // -Infinity is null in JSON
      koffi.encode(biases, koffi.array(LogitBias, logitBias.length), finite)
      add(llama.llama_sampler_init_logit_bias(vocabulary, logitBias.length, biases))
      koffi.free(biases) // copied by llama.cpp
    }
    if (penaltyLastN > 0) {
      const { repeatPenalty = 1, frequencyPenalty = 0, presencePenalty = 0 } = settings
      add(
        llama.llama_sampler_init_penalties(
          vocabulary,
          penaltyLastN,
          repeatPenalty,
          frequencyPenalty,
          presencePenalty
        )
      )
    }
    if (dry !== undefined && dry.multiplier > 0) {
      const { multiplier, base, allowedLength, breakers } = dry
      add(
        llama.llama_sampler_init_dry(
          pointer,
          multiplier,
          base,
          allowedLength,
          this.#dryLastN,
          [...breakers],
          breakers.length
        )
      )
    }
    if (this.#greedy) {
      add(llama.llama_sampler_init_greedy())
      return chain
    }
    if ((settings.topK ?? 0) > 0) add(llama.llama_sampler_init_top_k(settings.topK))
    if ((settings.topP ?? 1) < 1) add(llama.llama_sampler_init_top_p(settings.topP, MIN_KEEP))
    if ((settings.minP ?? 0) > 0) add(llama.llama_sampler_init_min_p(settings.minP, MIN_KEEP))
    add(llama.llama_sampler_init_temp(settings.temperature))
    add(llama.llama_sampler_init_dist(0)) // replaced before each draw
    return chain
  }

  /**
   * Makes the chain have accepted exactly `history[0..length)`: rewinds where they differ, and accepts again
   * what penalties and grammar can still see. False when the grammar refuses a token on the way (a wrong draft).
   */
  #sync(history: readonly number[], length: number): boolean {
    const llama = this.#llama
    let same = 0
    const shorter = Math.min(this.#accepted.length, length)
    while (same < shorter && this.#accepted[same] === history[same]) same++
    if (same < this.#accepted.length) {
      llama.llama_sampler_reset(this.#chain)
      const visible = Math.max(0, same - this.#lookback)
      for (let position = visible; position < same; position++) {
        llama.llama_sampler_accept(this.#chain, history[position])
      }
      this.#accepted.length = same
      this.#cursor = this.#constraint?.start
      for (let position = this.#generatedFrom; position < same; position++) {
        if (!this.#acceptGrammar(history[position] as number)) return false
      }
    }
    for (let position = same; position < length; position++) {
      const token = history[position] as number
      if (position >= this.#generatedFrom && !this.#acceptGrammar(token)) return false
      llama.llama_sampler_accept(this.#chain, token)
      this.#accepted.push(token)
    }
    return true
  }

  /** See SamplerSettings. */
  get alternatives(): number | undefined {
    return this.#settings.alternatives
  }

  get #generatedFrom(): number {
    return this.#settings.generatedFrom ?? 0
  }

  /** How many tokens back the chain's own state reaches. */
  get #lookback(): number {
    return Math.max(this.#settings.penaltyLastN ?? 0, this.#dryLastN)
  }

  /** False, and nothing has changed, where the grammar does not let the token follow. */
  #acceptGrammar(token: number): boolean {
    if (this.#constraint === undefined || this.#cursor === undefined) return true
    const next = this.#constraint.next(this.#cursor, token)
    this.#cursor = next ?? this.#cursor
    return next !== undefined
  }

  /**
   * Draws the token at position `length`, after the ids `history[0..length)`, from the logits of `row` of the
   * last batch. -1 when the grammar does not allow the history, or no token after it. Throws an EngineError INPUT where
   * the grammar takes too much time.
   */
  draw(context: Pointer, row: number, history: readonly number[], length: number): number {
    if (this.#failure !== undefined) throw this.#failure // a batch that fails is run again in halves
    try {
      return this.#draw(context, row, history, length)
    } catch (error) {
      this.#failure = error
      throw error
    }
  }

  #draw(context: Pointer, row: number, history: readonly number[], length: number): number {
    this.#constraint?.beginDraw()
    if (!this.#sync(history, length)) return -1
    this.#reseed(length)
    const token =
      this.#constraint === undefined
        ? (this.#llama.llama_sampler_sample(this.#chain, context, row) as number)
        : this.#drawConstrained(this.#constraint, context, row)
    if (token >= 0) this.#accepted.push(token)
    return token
  }

  #reseed(position: number): void {
    if (this.#greedy) return
    const llama = this.#llama
    const last = (llama.llama_sampler_chain_n(this.#chain) as number) - 1
    llama.llama_sampler_free(llama.llama_sampler_chain_remove(this.#chain, last))
    llama.llama_sampler_chain_add(
      this.#chain,
      llama.llama_sampler_init_dist(drawSeed(this.#settings.seed, position))
    )
  }

  /**
   * Draws freely first, and among what the grammar allows only when that token is not (llama.cpp's common
   * sampler does the same): a grammar over one candidate costs far less than over a whole vocabulary.
   */
  #drawConstrained(constraint: Constraint, context: Pointer, row: number): number {
    const llama = this.#llama
    const { size } = this.#vocabulary
    const logits = new Float32Array(koffi.view(llama.llama_get_logits_ith(context, row), size * 4))
    this.#candidates.fill(logits)
    llama.llama_sampler_apply(this.#chain, this.#candidates.array)
    let token = this.#candidates.selected()
    if (!this.#acceptGrammar(token)) {
      this.#reseed(this.#accepted.length) // the same random number again
      this.#candidates.fill(logits, constraint.mask(this.#cursor as Cursor))
      llama.llama_sampler_apply(this.#chain, this.#candidates.array)
      token = this.#candidates.selected()
      if (!this.#acceptGrammar(token)) return -1 // a finished grammar in a vocabulary that has no end
    }
    llama.llama_sampler_accept(this.#chain, token)
    return token
  }

  free(): void {
    this.#llama.llama_sampler_free(this.#chain)
    this.#candidates.free()
  }
}
