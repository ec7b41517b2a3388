import type { SamplerSettings } from '../engine/index.ts'
import type { SamplerOptions } from '../net/index.ts'

/** From the wire to the engine, which has no "everything" to look back at, and no "off" but absence. */
export function samplerSettings(options: SamplerOptions, context: number): SamplerSettings {
  const { grammar, dry, penaltyLastN, topK, ...rest } = options
  return {
    ...rest,
    topK: Math.max(0, topK), // llama.cpp's "off" is anything below 1
    penaltyLastN: lookback(penaltyLastN, context),
    ...(dry === undefined || dry.multiplier === 0
      ? {}
      : { dry: { ...dry, penaltyLastN: lookback(dry.penaltyLastN, context) } }),
    ...(grammar === '' ? {} : { grammar })
  }
}

/** -1 is the whole context, and there is nothing beyond it. */
function lookback(tokens: number, context: number): number {
  return tokens < 0 ? context : Math.min(tokens, context)
}
