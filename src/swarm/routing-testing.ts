import type { Coordinate, StageInfo } from '../net/index.ts'
import type { HostedStage } from './discover.ts'

export const MODEL = 'a'.repeat(64)

const STAGE = {
  ...{ model: MODEL, name: 'm', architecture: 'llama', blockCount: 8, width: 4, context: 4096, maxRows: 16 },
  profile: { kvTypeK: 'f16', kvTypeV: 'f16', flashAttention: true, codec: 'f32', longContext: false }
}

/** Blocks `[start, end)` of eight, on a node that is named after them if not otherwise. */
export function hosted(
  start: number,
  end: number,
  { peer = `${start}-${end}`, coordinate, ...stage }: Partial<StageInfo & HostedStage> = {}
): HostedStage {
  const head = end === (stage.blockCount ?? STAGE.blockCount)
  return {
    ...{ peer, addresses: [], coordinate },
    stage: { ...STAGE, start, end, head, embedding: start === 0, ...stage }
  }
}

/** Milliseconds for one row through a whole span; a prompt's rows take a tenth. */
export function speed(decodeMs: number): Pick<StageInfo, 'speed'> {
  return { speed: { decodeMicroseconds: decodeMs * 1000, prefillMicroseconds: decodeMs * 100 } }
}

/** A place on a line. */
export function at(ms: number, error = 0.1): Coordinate {
  return { vector: [ms, 0, 0, 0, 0, 0, 0, 0], height: 0, adjustment: 0, error }
}
