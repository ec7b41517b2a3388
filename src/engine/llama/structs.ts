/**
 * llama.cpp's C structs as koffi sees them, for the one version that we depend on (v0.5.0, `llama.h`).
 * A changed layout would corrupt memory silently, so `verify.ts` compares what the library's own default
 * functions return with what these layouts make of it, before anything else is called.
 */
import koffi from 'koffi'

export const ModelParams = koffi.struct('llama_model_params', {
  devices: 'void *',
  tensor_buft_overrides: 'void *',
  n_gpu_layers: 'int32_t',
  split_mode: 'int32_t',
  load_mode: 'int32_t',
  lazy_mode: 'int32_t',
  main_gpu: 'int32_t',
  tensor_split: 'void *',
  progress_callback: 'void *',
  progress_callback_user_data: 'void *',
  kv_overrides: 'void *',
  vocab_only: 'bool',
  check_tensors: 'bool',
  use_extra_bufts: 'bool',
  no_host: 'bool',
  no_alloc: 'bool',
  load_mtp: 'bool'
})

export const ContextParams = koffi.struct('llama_context_params', {
  n_ctx: 'uint32_t',
  n_batch: 'uint32_t',
  n_ubatch: 'uint32_t',
  n_seq_max: 'uint32_t',
  n_rs_seq: 'uint32_t',
  n_outputs_max: 'uint32_t',
  n_outputs_max_per_seq: 'uint32_t',
  n_threads: 'int32_t',
  n_threads_batch: 'int32_t',
  ctx_type: 'int32_t',
  rope_scaling_type: 'int32_t',
  pooling_type: 'int32_t',
  attention_type: 'int32_t',
  flash_attn_type: 'int32_t',
  rope_freq_base: 'float',
  rope_freq_scale: 'float',
  yarn_ext_factor: 'float',
  yarn_attn_factor: 'float',
  yarn_beta_fast: 'float',
  yarn_beta_slow: 'float',
  yarn_orig_ctx: 'uint32_t',
  defrag_thold: 'float',
  cb_eval: 'void *',
  cb_eval_user_data: 'void *',
  type_k: 'int32_t',
  type_v: 'int32_t',
  abort_callback: 'void *',
  abort_callback_data: 'void *',
  embeddings: 'bool',
  offload_kqv: 'bool',
  no_perf: 'bool',
  op_offload: 'bool',
  swa_full: 'bool',
  kv_unified: 'bool',
  samplers: 'void *',
  n_samplers: 'size_t',
  ctx_other: 'void *'
})

export const Batch = koffi.struct('llama_batch', {
  n_tokens: 'int32_t',
  token: 'void *',
  embd: 'void *',
  pos: 'void *',
  n_seq_id: 'void *',
  seq_id: 'void *',
  logits: 'void *'
})

export const QuantizeParams = koffi.struct('llama_model_quantize_params', {
  nthread: 'int32_t',
  ftype: 'int32_t',
  output_tensor_type: 'int32_t',
  token_embedding_type: 'int32_t',
  allow_requantize: 'bool',
  quantize_output_tensor: 'bool',
  only_copy: 'bool',
  pure: 'bool',
  keep_split: 'bool',
  dry_run: 'bool',
  imatrix: 'void *',
  kv_overrides: 'void *',
  tt_overrides: 'void *',
  prune_layers: 'void *',
  max_buf_size: 'size_t'
})

export const ImatrixData = koffi.struct('llama_model_imatrix_data', {
  name: 'void *',
  data: 'void *',
  size: 'size_t'
})

/**
 * `llama_model_kv_override`, in bytes: a tag, a key of 128 bytes, and a union of 128 bytes. An array of them ends
 * with an empty key.
 */
export const KV_OVERRIDE = { bytes: 264, key: 4, value: 136, textBytes: 128, integer: 0, text: 3 } as const

export const SamplerChainParams = koffi.struct('llama_sampler_chain_params', { no_perf: 'bool' })

export const TokenData = koffi.struct('llama_token_data', { id: 'int32_t', logit: 'float', p: 'float' })

export const TokenDataArray = koffi.struct('llama_token_data_array', {
  data: 'void *',
  size: 'size_t',
  selected: 'int64_t',
  sorted: 'bool'
})

export const LogitBias = koffi.struct('llama_logit_bias', { token: 'int32_t', bias: 'float' })

export const ThreadpoolParams = koffi.struct('ggml_threadpool_params', {
  cpumask: koffi.array('bool', 512),
  n_threads: 'int',
  prio: 'int',
  poll: 'uint32_t',
  strict_cpu: 'bool',
  paused: 'bool'
})

export const ThreadpoolNew = koffi.proto('void *ggml_threadpool_new(void *params)')

/** `bool (*)(ggml_tensor *, bool ask, void *)`, called for every node of a compute graph. */
export const EvalCallback = koffi.proto(
  'bool ggml_backend_sched_eval_callback(void *t, bool ask, void *data)'
)
export const LogCallback = koffi.proto('void ggml_log_callback(int level, const char *text, void *data)')
export const ProgressCallback = koffi.proto('bool llama_progress_callback(float progress, void *data)')

/** Where things lie in a `ggml_tensor`, in bytes. `verify.ts` checks each with ggml's own accessors. */
export const TENSOR = { type: 0, ne: 16, nb: 48, op: 80, src: 152, data: 248, name: 256 } as const

/** The constants of the C headers that we use. */
export const GGML_TYPE = { f32: 0, f16: 1, q4_0: 2, q8_0: 8, bf16: 30 } as const
/** Those of `ggml_op` that multiply by weights; the second one by a choice of experts. */
export const GGML_OP = { MUL_MAT: 29, MUL_MAT_ID: 30 } as const
export const FLASH_ATTENTION = { disabled: 0, enabled: 1 } as const
/** Read the file into buffers; do not map it. */
export const LOAD_MODE_NONE = 0

/** `ggml_type_traits.to_float`, in bytes from the start of the struct, and its type. */
export const TYPE_TRAITS_TO_FLOAT = 40
export const ToFloat = koffi.proto('void ggml_to_float_t(const void *row, void *out, int64_t count)')
