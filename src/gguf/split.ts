// A planned file as several, which llama.cpp opens together (`llama_model_load_from_splits`): tensors can stay where
// they are while the model around them changes.
import { GgufError } from './errors.ts'
import { type GgufPlan, type PlannedTensor, planGguf, type TensorToWrite } from './plan.ts'
import type { Metadata } from './types.ts'

export interface SplitPart {
  /** Of the plan, in the order of the part's file. */
  readonly tensors: readonly PlannedTensor[]
  /** Where the first of them begins in that file, in bytes: a multiple of the alignment. */
  readonly headerBytes: number
}

/**
 * Distributes a plan over files: the first has the metadata and all tensors that are in no part; each part follows,
 * its tensors at the same place whatever its header says, since a string pads that.
 *
 * Throws a GgufError (WRITE) where a header does not fit.
 */
export function splitGguf({ metadata, tensors }: GgufPlan, parts: readonly SplitPart[]): GgufPlan[] {
  const elsewhere = new Set(parts.flatMap((part) => part.tensors))
  const rest = tensors.filter((tensor) => !elsewhere.has(tensor))
  const keys = (index: number): Metadata => splitKeys(index, parts.length + 1, tensors.length)
  const first = planGguf({ metadata: new Map([...metadata, ...keys(0)]), tensors: rest })
  return [
    first,
    ...parts.map((part, index) => {
      const spare = part.headerBytes - planPart(part.tensors, keys(index + 1), metadata).header.byteLength
      if (spare < 0) throw new GgufError('WRITE', 0, `a header is ${-spare} bytes longer than its place`)
      return planPart(part.tensors, keys(index + 1), metadata, spare)
    })
  ]
}

/** The least that `headerBytes` of a part with these tensors can be. */
export function splitHeaderBytes(metadata: Metadata, tensors: readonly TensorToWrite[]): number {
  return planPart(tensors, splitKeys(0, 0, 0), metadata).header.byteLength
}

/** Of the types that llama.cpp insists on. */
function splitKeys(index: number, count: number, tensors: number): Metadata {
  return new Map([
    ['split.no', { type: 'u16', value: index }],
    ['split.count', { type: 'u16', value: count }],
    ['split.tensors.count', { type: 'i32', value: tensors }]
  ])
}

function planPart(
  tensors: readonly TensorToWrite[],
  keys: Metadata,
  metadata: Metadata,
  padding = 0
): GgufPlan {
  const alignment = metadata.get('general.alignment')
  const all: Metadata = new Map([...keys, ['shoal.padding', { type: 'string', value: ' '.repeat(padding) }]])
  if (alignment !== undefined) all.set('general.alignment', alignment)
  return planGguf({ metadata: all, tensors })
}
