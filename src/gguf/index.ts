/**
 * Reads, slices and writes GGUF files. Pure: it runs in browsers too; files, buffers and remote objects come in as a
 * ByteSource and go out through a ByteSink.
 *
 * @example
 * ```ts
 * import { memorySource, planGguf, readGguf, sliceGguf, writeGguf } from './src/gguf/index.ts'
 *
 * const metadata = new Map([
 *   ['general.architecture', { type: 'string', value: 'llama' }],
 *   ['llama.block_count', { type: 'u32', value: 2 }]
 * ])
 * const f32 = (name, ...dims) => {
 *   const weights = dims.reduce((product, dim) => product * dim, 1)
 *   return { name, dims, type: 'F32', data: new Uint8Array(4 * weights) }
 * }
 * const tensors = [
 *   f32('token_embd.weight', 8, 100),
 *   f32('blk.0.ffn_up.weight', 8, 16),
 *   f32('blk.1.ffn_up.weight', 8, 16),
 *   f32('output_norm.weight', 8)
 * ]
 * const plan = planGguf({ metadata, tensors })
 * const file = new Uint8Array(plan.byteLength)
 * let length = 0
 * await writeGguf({ async write(bytes) { file.set(bytes, length); length += bytes.length } }, plan)
 *
 * const model = await readGguf(memorySource(file))
 * const slice = sliceGguf(model, { start: 1, end: 2, embedding: false, head: true })
 * console.log(slice.tensors.map((tensor) => tensor.name), slice.byteLength)
 * // [ 'token_embd.weight', 'blk.0.ffn_up.weight', 'output_norm.weight' ] 4192
 * ```
 */
export { certifiedArchitectures, refusals } from './architectures.ts'
export { GgufError, type GgufErrorCode, UnsupportedModelError } from './errors.ts'
export { fingerprint } from './fingerprint.ts'
export { HEAD_TENSORS } from './globals.ts'
export { type Header, parseHeader } from './header.ts'
export { memorySource } from './memory.ts'
export {
  type GgufPlan,
  type PlanInit,
  type PlannedTensor,
  planGguf,
  type TensorData,
  type TensorToWrite
} from './plan.ts'
export { readGguf, splitPartNames } from './read.ts'
export { type SliceOptions, sliceGguf } from './slice.ts'
export { type SplitPart, splitGguf, splitHeaderBytes } from './split.ts'
export { TENSOR_TYPES, type TensorType, tensorByteLength } from './tensor-types.ts'
export type {
  ByteSink,
  ByteSource,
  GgufModel,
  Metadata,
  MetadataValue,
  Scalar,
  ScalarType,
  Span,
  TensorInfo
} from './types.ts'
export { type WriteOptions, writeGguf } from './write.ts'
