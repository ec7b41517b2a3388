/** Guesses by a small model with the same tokenizer (Leviathan et al. 2023), drawn as the tail draws. */
import { EngineError, type SamplerSettings } from '../engine/index.ts'
import type { SamplerOptions } from '../net/index.ts'
import { samplerSettings } from '../stage/index.ts'
import type { Drafter, Guess } from './drafter.ts'
import type { DraftEngine, DraftSequence } from './model-drafter-engine.ts'

/** That all guesses of a draft hold: below it, the next one is hardly ever worth its rows. */
const LEAST_PROBABILITY = 0.05

export interface ModelDrafterInit {
  readonly sampler: SamplerOptions
  /** Of the model that is drafted for, in tokens: the draft's own may be padded to more. */
  readonly vocabulary: number
}

/**
 * Belongs to one session; `shared` may serve many. The likelihood that a guess holds is told as the root of the
 * probability p that the draft model gives the token: more than p, since the draft draws with the tail's random number,
 * and greedy drawing takes the likeliest token however unlikely it is. Of the demo model and its draft, guesses at
 * temperature 0.8 and 1 held as often as that within a few hundredths; greedy ones with p below 0.1 more often.
 */
export class ModelDrafter implements Drafter {
  readonly #shared: DraftEngine
  readonly #vocabulary: number
  #settings: SamplerSettings
  #sequence: DraftSequence | undefined
  /** Settles when the last call has ended, in the engine too. */
  #last: Promise<unknown> = Promise.resolve()
  #isClosed = false

  constructor(shared: DraftEngine, { sampler, vocabulary }: ModelDrafterInit) {
    this.#shared = shared
    this.#vocabulary = vocabulary
    this.#settings = this.#settingsOf(sampler)
  }

  /** See Drafter. Without a free sequence, beyond the draft's context, and while its engine is dead: no guess. */
  draft(ids: readonly number[], most: number, signal: AbortSignal): Promise<readonly Guess[]> {
    const conversation = [...ids] // it goes on while this computes
    const work = this.#last.then(() => this.#draft(conversation, most, signal))
    this.#last = work.catch(() => {})
    return unlessAborted(work, signal)
  }

  async #draft(ids: number[], most: number, signal: AbortSignal): Promise<Guess[]> {
    const guesses: Guess[] = []
    if (this.#isClosed || ids.length === 0) return guesses
    this.#sequence ??= this.#shared.take()
    const { context, endTokens } = this.#shared.engine.description
    let all = 1
    try {
      while (guesses.length < most && ids.length <= context) {
        const drawn = await this.#sequence?.draw(ids, this.#settings, signal)
        if (drawn === undefined || drawn.token >= this.#vocabulary) break
        const probability = Math.sqrt(drawn.probability)
        all *= probability
        if (all < LEAST_PROBABILITY) break
        guesses.push({ token: drawn.token, probability })
        ids.push(drawn.token)
        if (endTokens.includes(drawn.token)) break
      }
    } catch (error) {
      if (!(error instanceof EngineError)) throw error // it is dead, or has no room
    }
    return guesses
  }

  resample(sampler: SamplerOptions): void {
    this.#settings = this.#settingsOf(sampler)
  }

  #settingsOf(sampler: SamplerOptions): SamplerSettings {
    const { context, vocabulary } = this.#shared.engine.description
    const { logitBias, ...settings } = samplerSettings(sampler, context)
    return {
      ...settings,
      logitBias: logitBias?.filter(({ token }) => token < vocabulary) ?? [],
      alternatives: 0 // to be told how likely the drawn token was
    }
  }

  async close(): Promise<void> {
    this.#isClosed = true
    await this.#last
    await this.#sequence?.release()
    this.#sequence = undefined
  }
}

/** Rejects with the signal's reason as soon as it fires. */
function unlessAborted<T>(work: Promise<T>, signal: AbortSignal): Promise<T> {
  const { promise, resolve, reject } = Promise.withResolvers<T>()
  const abort = (): void => reject(signal.reason)
  if (signal.aborted) abort()
  signal.addEventListener('abort', abort, { once: true })
  work.then(resolve, reject).finally(() => signal.removeEventListener('abort', abort))
  return promise
}
