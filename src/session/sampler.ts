import type { SamplerOptions } from '../net/index.ts'

/** Greedy with all other settings off; override what you need. */
export function defaultSampler(overrides: Partial<SamplerOptions> = {}): SamplerOptions {
  return {
    temperature: 0,
    topK: 0,
    topP: 1,
    minP: 0,
    penaltyLastN: 0,
    repeatPenalty: 1,
    frequencyPenalty: 0,
    presencePenalty: 0,
    logitBias: [],
    seed: 0,
    grammar: '',
    generatedFrom: 0,
    ...overrides
  }
}
