/** Opens a model and makes its context and threads. */
import koffi from 'koffi'
import type { EmbeddingTable, EngineInit, KvType } from '../contract.ts'
import { EngineError } from '../errors.ts'
import type { Llama, Pointer } from './library.ts'
import {
  FLASH_ATTENTION,
  GGML_TYPE,
  LOAD_MODE_NONE,
  ProgressCallback,
  ThreadpoolNew,
  ThreadpoolParams
} from './structs.ts'

/** What the engine must know of a span beside what llama.cpp reads from it. */
export interface SpanMetadata {
  readonly head: boolean
  /** Whether its rows may come as token ids. */
  readonly embeds: boolean
  /** What embedded ids are multiplied by before they are injected. */
  readonly embeddingScale: number
  /** Architectures that scale whatever comes in: the tensor to overwrite with injected rows. */
  readonly inputTensor?: string
}

/** An EngineInit with nothing left open. */
export type LoadedInit = Required<Omit<EngineInit, 'embedding'>> & { readonly embedding?: EmbeddingTable }

const KV_TYPES: Record<KvType, number> = {
  f32: GGML_TYPE.f32,
  f16: GGML_TYPE.f16,
  bf16: GGML_TYPE.bf16,
  q8_0: GGML_TYPE.q8_0,
  q4_0: GGML_TYPE.q4_0
}

/** What of an engine's init says which model to load, and where to. */
export type ModelInit = Pick<LoadedInit, 'files' | 'vocabularyOnly' | 'gpuLayers'>

export function loadModel(llama: Llama, init: ModelInit, onProgress: (f: number) => void): Pointer {
  const callback = koffi.register((fraction: number) => {
    onProgress(fraction)
    return true
  }, koffi.pointer(ProgressCallback))
  try {
    const model = llama.llama_model_load_from_splits([...init.files], init.files.length, {
      ...llama.llama_model_default_params(),
      vocab_only: init.vocabularyOnly,
      load_mode: LOAD_MODE_NONE, // mapped pages would stay beside the copies that llama.cpp repacks for its kernels
      n_gpu_layers: init.gpuLayers,
      progress_callback: callback
    }) as Pointer | null
    if (model === null) {
      throw new EngineError(
        'LOAD_FAILED',
        `llama.cpp does not load ${init.files[0]}: see the log above for why.`
      )
    }
    const kinds = ['is_recurrent', 'is_hybrid', 'has_encoder', 'is_diffusion'] as const
    const kind = kinds.find((name) => llama[`llama_model_${name}`](model) as boolean)
    if (kind !== undefined) {
      llama.llama_model_free(model)
      throw new EngineError('LOAD_FAILED', `${init.files[0]} is a model that can't be split (${kind}).`)
    }
    return model
  } finally {
    koffi.unregister(callback)
  }
}

export function loadContext(
  llama: Llama,
  model: Pointer,
  init: LoadedInit,
  evalCallback: Pointer | null
): Pointer {
  const context = llama.llama_init_from_model(model, {
    ...llama.llama_context_default_params(),
    n_ctx: init.context,
    n_batch: init.maxRows,
    n_ubatch: init.maxRows, // one micro-batch per batch: the eval callback sees all rows, in order
    n_seq_max: init.sequences,
    n_outputs_max: Math.max(init.maxOutputs, init.sequences), // it has buffers for each sequence, or aborts
    n_outputs_max_per_seq: 0,
    n_threads: init.threads,
    n_threads_batch: init.threads,
    flash_attn_type: init.flashAttention ? FLASH_ATTENTION.enabled : FLASH_ATTENTION.disabled,
    cb_eval: evalCallback,
    type_k: KV_TYPES[init.kvTypeK],
    type_v: KV_TYPES[init.kvTypeV],
    swa_full: true, // else truncating far back silently gives wrong logits
    kv_unified: init.kvUnified // rows stay in the order of the batch only if true
  }) as Pointer | null
  if (context === null) {
    throw new EngineError(
      'LOAD_FAILED',
      `No context of ${init.context} positions for ${init.files[0]}: not enough memory, or a KV type ` +
        `(${init.kvTypeK}, ${init.kvTypeV}) that this model does not take.`
    )
  }
  attachThreads(llama, context, init.threads)
  return context
}

/**
 * Threads that sleep between batches. ggml's default spins for a while after each, which on a machine that
 * also runs the network (or another stage) takes the core away from whoever has work.
 */
export function attachThreads(llama: Llama, context: Pointer, threads: number): void {
  const cpu = llama.ggml_backend_dev_by_type(0) as Pointer
  const make = llama.ggml_backend_reg_get_proc_address(
    llama.ggml_backend_dev_backend_reg(cpu),
    'ggml_threadpool_new'
  ) as Pointer | null
  if (make === null) return
  const params = koffi.alloc(ThreadpoolParams, 1)
  llama.ggml_threadpool_params_init(params, threads)
  const settings = koffi.decode(params, ThreadpoolParams) as Record<string, unknown>
  koffi.encode(params, ThreadpoolParams, { ...settings, poll: 0 })
  const pool = koffi.call(make, ThreadpoolNew, params)
  koffi.free(params)
  llama.llama_attach_threadpool(context, pool, pool)
}
