/**
 * Refuses to go on when the library's structs are not the ones we know. Known defaults are read through our
 * layouts (a shifted field shows as a wrong value), and a tensor is made whose fields ggml can point at.
 */
import koffi from 'koffi'
import { EngineError } from '../errors.ts'
import type { Llama, Pointer } from './library.ts'
import { GGML_OP, GGML_TYPE, TENSOR, TokenData, TokenDataArray } from './structs.ts'

/** Set in llama.cpp v0.5.0 (`llama_context_default_params`, `llama_model_default_params`, and so on). */
const CONTEXT_DEFAULTS: Record<string, unknown> = {
  n_ctx: 512,
  n_batch: 2048,
  n_ubatch: 512,
  n_seq_max: 1,
  n_outputs_max_per_seq: 1,
  n_threads: 4,
  rope_scaling_type: -1,
  flash_attn_type: -1,
  yarn_ext_factor: -1,
  defrag_thold: -1,
  cb_eval: null,
  type_k: 1,
  type_v: 1,
  embeddings: false,
  offload_kqv: true,
  no_perf: true,
  op_offload: true,
  swa_full: true,
  kv_unified: false,
  ctx_other: null
}
const MODEL_DEFAULTS: Record<string, unknown> = {
  n_gpu_layers: -1,
  split_mode: 1,
  load_mode: -1,
  lazy_mode: 1,
  progress_callback: null,
  vocab_only: false,
  use_extra_bufts: true,
  load_mtp: false
}
const QUANTIZE_DEFAULTS: Record<string, unknown> = {
  nthread: 0,
  ftype: 7, // Q8_0
  output_tensor_type: 43, // as many as there are: none
  token_embedding_type: 43,
  allow_requantize: false,
  quantize_output_tensor: true,
  only_copy: false,
  keep_split: false,
  imatrix: null,
  prune_layers: null,
  max_buf_size: 8 * 1024 ** 3
}

function fail(what: string): never {
  throw new EngineError(
    'LIBRARY_LAYOUT',
    `llama.cpp's ${what} is not what this Shoal was made for. Run "npm ci" to get the matching binaries.`
  )
}

function compare(name: string, actual: Record<string, unknown>, expected: Record<string, unknown>): void {
  for (const [field, value] of Object.entries(expected)) {
    if (actual[field] !== value) fail(`${name}.${field} (${String(actual[field])}, not ${String(value)})`)
  }
}

function verifyTensor(llama: Llama): void {
  const context = llama.ggml_init({ mem_size: 65_536, mem_buffer: null, no_alloc: false }) as Pointer
  const tensor = llama.ggml_new_tensor_2d(context, GGML_TYPE.f32, 3, 5) as Pointer
  llama.ggml_set_name(tensor, 'l_out-7')
  const at = (offset: number): Pointer => tensor + BigInt(offset)
  const columns = Number(koffi.decode.int64(at(TENSOR.ne)))
  const rows = Number(koffi.decode.int64(at(TENSOR.ne + 8)))
  const data = BigInt(koffi.decode.uint64(at(TENSOR.data)))
  const same =
    koffi.decode.int32(at(TENSOR.type)) === GGML_TYPE.f32 &&
    columns === 3 &&
    rows === 5 &&
    data === llama.ggml_get_data(tensor) &&
    koffi.decode.string(at(TENSOR.name)) === 'l_out-7'
  const product = llama.ggml_mul_mat(context, tensor, tensor) as Pointer
  const pointers = [0, 8].map((offset) => BigInt(koffi.decode.uint64(product + BigInt(TENSOR.src + offset))))
  const op = koffi.decode.int32(product + BigInt(TENSOR.op))
  const sameProduct =
    op === GGML_OP.MUL_MAT &&
    pointers.every((pointer) => pointer === tensor) &&
    Number(koffi.decode.int64(at(TENSOR.nb + 8))) === 12 &&
    Number(llama.ggml_nbytes(tensor)) === 60
  llama.ggml_free(context)
  if (!same || !sameProduct) fail('ggml_tensor')
  for (const [name, id] of Object.entries(GGML_OP)) if (llama.ggml_op_name(id) !== name) fail('ggml_op')
}

/** The greedy sampler must pick the second of three candidates, through our candidate structs. */
function verifySampling(llama: Llama): void {
  const data = koffi.alloc(TokenData, 3)
  const array = koffi.alloc(TokenDataArray, 1)
  const candidates = [0.5, 2.5, 1.5].map((logit, id) => ({ id, logit, p: 0 }))
  koffi.encode(data, koffi.array(TokenData, 3), candidates)
  koffi.encode(array, TokenDataArray, { data, size: 3, selected: -1, sorted: false })
  const sampler = llama.llama_sampler_init_greedy()
  llama.llama_sampler_apply(sampler, array)
  const { selected } = koffi.decode(array, TokenDataArray) as { selected: number | bigint }
  llama.llama_sampler_free(sampler)
  koffi.free(array)
  koffi.free(data)
  if (Number(selected) !== 1) fail('llama_token_data_array')
}

export function verifyLibrary(llama: Llama): void {
  compare('llama_context_params', llama.llama_context_default_params(), CONTEXT_DEFAULTS)
  compare('llama_model_params', llama.llama_model_default_params(), MODEL_DEFAULTS)
  compare('llama_model_quantize_params', llama.llama_model_quantize_default_params(), QUANTIZE_DEFAULTS)
  verifyTensor(llama)
  verifySampling(llama)
}
