// Tensors that belong to no block: which slices they go into, and what stands for them where they are missing.
// What llama.cpp v0.5.0 asks for (llama-model-loader.cpp, src/models/*.cpp):
// - Every tensor of the file must be one that the architecture creates, and each required one must be there with
//   its exact shape. Two tensors can't share bytes: each must begin where the one before ends.
// - `token_embd.weight` and `output_norm.weight` are always required; `output.weight` depends (see below).
// - `rope_freqs`, `rope_factors_long` and `rope_factors_short` have no per-block names: block 0 creates them, all
//   other blocks share them. Every slice has a block 0, so that they go into every slice.
// - `output.scale` and `output.input_scale` are created only when the output tensor is NVFP4; a dummy isn't.

import type { TensorToWrite } from './plan.ts'
import { TENSOR_TYPES, tensorByteLength } from './tensor-types.ts'

export const EMBEDDING = 'token_embd.weight'
export const OUTPUT = 'output.weight'

/**
 * The tensors of the head except OUTPUT, and what a slice without the head has in their place. All other tensors
 * outside of blocks, known or not, go into every slice: a needless one costs space, a missing one correctness.
 */
export const HEAD_TENSORS: Readonly<Record<string, 'ones' | 'zeros' | 'nothing'>> = {
  'output_norm.weight': 'ones',
  'output_norm.bias': 'zeros',
  'output.bias': 'zeros',
  'output.scale': 'nothing',
  'output.input_scale': 'nothing'
}

/**
 * Architectures of which llama.cpp loads `token_embd.weight` once more as the output when there is no
 * `output.weight`. A slice with the head and without the embedding then stores the output under the embedding's
 * name, and no dummy with as many rows as the vocabulary is needed; a slice without the head has no output at all.
 *
 * The logits stay bit-equal: the second copy is made as the output tensor that it stands for. Its buffer is chosen
 * from the output layer's list and for a matrix multiplication, repacked CPU buffers and GPUs included, and the
 * copy made for row lookups is a separate one unless both choices are the same buffer type
 * (llama_model_loader::create_tensor with TENSOR_DUPLICATED). Compared on x64 with outputs in F32, F16, Q8_0, Q4_1
 * and Q4_0 (repacked): no logit differed.
 *
 * Not here although certified: gpt-oss requires `output.weight`; gemma2 never has one, so that it doesn't matter.
 */
export const OUTPUT_FALLS_BACK: ReadonlySet<string> = new Set([
  'gemma3',
  'glm4',
  'llama',
  'mistral3',
  'phi3',
  'qwen2',
  'qwen3',
  'qwen3moe'
])

/** Rows of a vocabulary that nobody uses. One would do; 32 is what was compared with whole models. */
export const DUMMY_ROWS = 32

/** For dummies of a whole vocabulary, cheapest first by bits per weight; the first whose blocks fit the width. */
const SMALL_TYPES = ['Q1_0', 'Q2_0', 'Q4_0', 'F16']

/** A matrix of zeros in place of EMBEDDING or OUTPUT; small also when it has a row for every token. */
export function dummyMatrix(name: string, width: number, rows: number): TensorToWrite {
  if (rows <= DUMMY_ROWS) return dummy(name, [width, rows], 'zeros')
  const type = SMALL_TYPES.find((candidate) => width % TENSOR_TYPES[candidate]!.blockSize === 0) ?? 'F32'
  return { name, dims: [width, rows], type, data: () => zeros(tensorByteLength(type, [width, rows])) }
}

/** An F32 tensor in place of one that a slice does not need. */
export function dummy(name: string, dims: readonly number[], fill: 'ones' | 'zeros'): TensorToWrite {
  const byteLength = tensorByteLength('F32', dims)
  if (fill === 'zeros') return { name, dims, type: 'F32', data: () => zeros(byteLength) }
  const data = new Uint8Array(byteLength)
  const view = new DataView(data.buffer)
  for (let offset = 0; offset < byteLength; offset += 4) view.setFloat32(offset, 1, true)
  return { name, dims, type: 'F32', data }
}

function* zeros(byteLength: number): Generator<Uint8Array> {
  const chunk = new Uint8Array(Math.min(byteLength, 1024 * 1024))
  for (let left = byteLength; left > 0; left -= chunk.byteLength) yield chunk.subarray(0, left)
}
