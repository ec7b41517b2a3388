/**
 * Finds llama.cpp's shared libraries in the npm packages `@node-llama-cpp/<platform>` and binds the functions
 * we call. Only the engine's child process imports this file.
 */
import { existsSync, readdirSync } from 'node:fs'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import koffi from 'koffi'
import { EngineError } from '../errors.ts'
import * as structs from './structs.ts'

/** The one version whose structs we know; the packages of other versions are not loaded. */
const PACKAGE_VERSION = '3.22.1'

export type Pointer = bigint

/** Packages for this machine, best first: one with GPU support is used where it is installed. */
function packageNames(): string[] {
  const { platform, arch } = process
  if (platform === 'darwin') return [arch === 'arm64' ? 'mac-arm64-metal' : 'mac-x64']
  const system = platform === 'win32' ? 'win' : 'linux'
  const gpu = arch === 'x64' ? [`${system}-x64-cuda`, `${system}-x64-vulkan`] : []
  return [...gpu, `${system}-${arch}`]
}

/** Each library has the llama.cpp release in its name on some platforms: `libllama.v0.5.0.so`. */
function findLibrary(folder: string, name: string): string {
  const pattern = new RegExp(`^(lib)?${name}(\\.v[0-9.]+)?\\.(so|dylib|dll)$`)
  const file = readdirSync(folder).find((entry) => pattern.test(entry))
  if (file === undefined) {
    throw new EngineError('LIBRARY_MISSING', `No ${name} library in ${folder}: reinstall with "npm ci".`)
  }
  return join(folder, file)
}

function binaryFolders(wantGpu: boolean): string[] {
  const require = createRequire(import.meta.url)
  const folders: string[] = []
  for (const name of packageNames()) {
    if (!wantGpu && /cuda|vulkan/.test(name)) continue
    let entry: string
    try {
      entry = require.resolve(`@node-llama-cpp/${name}`)
    } catch {
      continue
    }
    const { version } = require(join(dirname(entry), '..', 'package.json')) as { version: string }
    if (version !== PACKAGE_VERSION) {
      throw new EngineError(
        'LIBRARY_VERSION',
        `@node-llama-cpp/${name} is version ${version}, but this Shoal needs ${PACKAGE_VERSION}: ` +
          `run "npm install @node-llama-cpp/${name}@${PACKAGE_VERSION}".`
      )
    }
    const bins = join(dirname(entry), '..', 'bins')
    folders.push(...readdirSync(bins).map((sub) => join(bins, sub)))
  }
  if (folders.length === 0) {
    const last = packageNames().at(-1)
    throw new EngineError(
      'LIBRARY_MISSING',
      `The engine's binaries for ${process.platform} ${process.arch} are not installed: ` +
        `run "npm install @node-llama-cpp/${last}@${PACKAGE_VERSION}".`
    )
  }
  return folders
}

/** All functions of llama.cpp and ggml that the engine calls, by their own names. */
export type Llama = ReturnType<typeof loadLlama>

/** Loads the libraries and every ggml backend beside them. `gpu: false` leaves GPU packages alone. */
export function loadLlama(options: { gpu: boolean }) {
  const folders = binaryFolders(options.gpu)
  const folder = folders[0] as string
  const base = koffi.load(findLibrary(folder, 'ggml-base'), { global: true })
  const ggml = koffi.load(findLibrary(folder, 'ggml'), { global: true })
  const llama = koffi.load(findLibrary(folder, 'llama'))

  const functions = {
    // ggml
    ggml_backend_load_all_from_path: ggml.func('void ggml_backend_load_all_from_path(const char *folder)'),
    ggml_backend_dev_count: ggml.func('size_t ggml_backend_dev_count()'),
    ggml_backend_dev_get: ggml.func('void *ggml_backend_dev_get(size_t index)'),
    ggml_backend_dev_by_type: ggml.func('void *ggml_backend_dev_by_type(int type)'),
    ggml_backend_dev_name: base.func('const char *ggml_backend_dev_name(void *device)'),
    ggml_backend_dev_description: base.func('const char *ggml_backend_dev_description(void *device)'),
    ggml_backend_dev_type: base.func('int ggml_backend_dev_type(void *device)'),
    ggml_backend_dev_memory: base.func(
      'void ggml_backend_dev_memory(void *device, _Out_ size_t *free, _Out_ size_t *total)'
    ),
    ggml_backend_dev_backend_reg: base.func('void *ggml_backend_dev_backend_reg(void *device)'),
    ggml_backend_reg_get_proc_address: base.func(
      'void *ggml_backend_reg_get_proc_address(void *reg, const char *name)'
    ),
    ggml_backend_tensor_get: base.func(
      'void ggml_backend_tensor_get(void *tensor, void *data, size_t offset, size_t size)'
    ),
    ggml_backend_tensor_set: base.func(
      'void ggml_backend_tensor_set(void *tensor, const void *data, size_t offset, size_t size)'
    ),
    ggml_get_type_traits: base.func('void *ggml_get_type_traits(int type)'),
    ggml_threadpool_params_init: base.func('void ggml_threadpool_params_init(void *params, int threads)'),
    ggml_init: base.func('ggml_init', 'void *', [
      koffi.struct('ggml_init_params', { mem_size: 'size_t', mem_buffer: 'void *', no_alloc: 'bool' })
    ]),
    ggml_free: base.func('void ggml_free(void *context)'),
    ggml_new_tensor_2d: base.func('void *ggml_new_tensor_2d(void *context, int type, int64_t a, int64_t b)'),
    ggml_set_name: base.func('void *ggml_set_name(void *tensor, const char *name)'),
    ggml_mul_mat: base.func('void *ggml_mul_mat(void *context, void *a, void *b)'),
    ggml_op_name: base.func('const char *ggml_op_name(int op)'),
    ggml_nbytes: base.func('size_t ggml_nbytes(void *tensor)'),
    ggml_get_data: base.func('void *ggml_get_data(void *tensor)'),

    // models
    llama_version: llama.func('const char *llama_version()'),
    llama_log_set: llama.func('llama_log_set', 'void', [koffi.pointer(structs.LogCallback), 'void *']),
    llama_backend_init: llama.func('void llama_backend_init()'),
    llama_model_default_params: llama.func('llama_model_default_params', structs.ModelParams, []),
    llama_model_load_from_splits: llama.func('llama_model_load_from_splits', 'void *', [
      'const char **',
      'size_t',
      structs.ModelParams
    ]),
    llama_model_free: llama.func('void llama_model_free(void *model)'),
    llama_model_get_vocab: llama.func('void *llama_model_get_vocab(void *model)'),
    llama_model_n_embd: llama.func('int32_t llama_model_n_embd(void *model)'),
    llama_model_n_layer: llama.func('int32_t llama_model_n_layer(void *model)'),
    llama_model_n_swa: llama.func('int32_t llama_model_n_swa(void *model)'),
    llama_model_n_ctx_train: llama.func('int32_t llama_model_n_ctx_train(void *model)'),
    llama_model_size: llama.func('uint64_t llama_model_size(void *model)'),
    llama_model_desc: llama.func('int32_t llama_model_desc(void *model, _Out_ uint8_t *buffer, size_t size)'),
    llama_model_is_recurrent: llama.func('bool llama_model_is_recurrent(void *model)'),
    llama_model_is_hybrid: llama.func('bool llama_model_is_hybrid(void *model)'),
    llama_model_has_encoder: llama.func('bool llama_model_has_encoder(void *model)'),
    llama_model_is_diffusion: llama.func('bool llama_model_is_diffusion(void *model)'),

    llama_ftype_name: llama.func('const char *llama_ftype_name(int ftype)'),
    llama_model_quantize_default_params: llama.func(
      'llama_model_quantize_default_params',
      structs.QuantizeParams,
      []
    ),
    llama_model_quantize: llama.func('llama_model_quantize', 'uint32_t', [
      'const char *',
      'const char *',
      koffi.pointer(structs.QuantizeParams)
    ]),

    // contexts
    llama_context_default_params: llama.func('llama_context_default_params', structs.ContextParams, []),
    llama_init_from_model: llama.func('llama_init_from_model', 'void *', ['void *', structs.ContextParams]),
    llama_free: llama.func('void llama_free(void *context)'),
    llama_n_ctx: llama.func('uint32_t llama_n_ctx(void *context)'),
    llama_get_memory: llama.func('void *llama_get_memory(void *context)'),
    llama_attach_threadpool: llama.func(
      'void llama_attach_threadpool(void *context, void *pool, void *batch)'
    ),
    llama_decode: llama.func('llama_decode', 'int32_t', ['void *', structs.Batch]),
    llama_get_logits_ith: llama.func('void *llama_get_logits_ith(void *context, int32_t row)'),
    llama_memory_clear: llama.func('void llama_memory_clear(void *memory, bool data)'),
    llama_memory_seq_rm: llama.func(
      'bool llama_memory_seq_rm(void *memory, int32_t seq, int32_t p0, int32_t p1)'
    ),
    llama_memory_seq_cp: llama.func(
      'void llama_memory_seq_cp(void *memory, int32_t from, int32_t to, int32_t p0, int32_t p1)'
    ),
    llama_memory_seq_pos_min: llama.func('int32_t llama_memory_seq_pos_min(void *memory, int32_t seq)'),
    llama_memory_seq_pos_max: llama.func('int32_t llama_memory_seq_pos_max(void *memory, int32_t seq)'),
    llama_state_seq_get_size: llama.func('size_t llama_state_seq_get_size(void *context, int32_t seq)'),
    llama_state_seq_get_data: llama.func(
      'size_t llama_state_seq_get_data(void *context, _Out_ uint8_t *data, size_t size, int32_t seq)'
    ),
    llama_state_seq_set_data: llama.func(
      'size_t llama_state_seq_set_data(void *context, const uint8_t *data, size_t size, int32_t seq)'
    ),

    // vocabulary
    llama_vocab_n_tokens: llama.func('int32_t llama_vocab_n_tokens(void *vocab)'),
    llama_vocab_type: llama.func('int llama_vocab_type(void *vocab)'),
    llama_vocab_bos: llama.func('int32_t llama_vocab_bos(void *vocab)'),
    llama_vocab_eos: llama.func('int32_t llama_vocab_eos(void *vocab)'),
    llama_vocab_is_eog: llama.func('bool llama_vocab_is_eog(void *vocab, int32_t token)'),
    llama_vocab_get_add_bos: llama.func('bool llama_vocab_get_add_bos(void *vocab)'),
    llama_vocab_get_add_eos: llama.func('bool llama_vocab_get_add_eos(void *vocab)'),
    llama_tokenize: llama.func(
      'int32_t llama_tokenize(void *vocab, const uint8_t *text, int32_t bytes, _Out_ int32_t *tokens, int32_t max, bool add_special, bool parse_special)'
    ),
    llama_token_to_piece: llama.func(
      'int32_t llama_token_to_piece(void *vocab, int32_t token, _Out_ uint8_t *buffer, int32_t size, int32_t lstrip, bool special)'
    ),

    // samplers
    llama_sampler_chain_init: llama.func('llama_sampler_chain_init', 'void *', [structs.SamplerChainParams]),
    llama_sampler_chain_add: llama.func('void llama_sampler_chain_add(void *chain, void *sampler)'),
    llama_sampler_chain_n: llama.func('int32_t llama_sampler_chain_n(void *chain)'),
    llama_sampler_chain_remove: llama.func('void *llama_sampler_chain_remove(void *chain, int32_t index)'),
    llama_sampler_free: llama.func('void llama_sampler_free(void *sampler)'),
    llama_sampler_reset: llama.func('void llama_sampler_reset(void *sampler)'),
    llama_sampler_accept: llama.func('void llama_sampler_accept(void *sampler, int32_t token)'),
    llama_sampler_apply: llama.func('void llama_sampler_apply(void *sampler, void *candidates)'),
    llama_sampler_sample: llama.func(
      'int32_t llama_sampler_sample(void *sampler, void *context, int32_t row)'
    ),
    llama_sampler_init_greedy: llama.func('void *llama_sampler_init_greedy()'),
    llama_sampler_init_dist: llama.func('void *llama_sampler_init_dist(uint32_t seed)'),
    llama_sampler_init_top_k: llama.func('void *llama_sampler_init_top_k(int32_t k)'),
    llama_sampler_init_top_p: llama.func('void *llama_sampler_init_top_p(float p, size_t min_keep)'),
    llama_sampler_init_min_p: llama.func('void *llama_sampler_init_min_p(float p, size_t min_keep)'),
    llama_sampler_init_temp: llama.func('void *llama_sampler_init_temp(float temperature)'),
    llama_sampler_init_penalties: llama.func(
      'void *llama_sampler_init_penalties(int32_t n_vocab, int32_t last_n, float repeat, float frequency, float presence)'
    ),
    llama_sampler_init_dry: llama.func('llama_sampler_init_dry', 'void *', [
      'void *',
      'float',
      'float',
      'int32_t',
      'int32_t',
      'const char **',
      'size_t'
    ]),
    llama_sampler_init_logit_bias: llama.func(
      'void *llama_sampler_init_logit_bias(int32_t n_vocab, int32_t count, llama_logit_bias *biases)'
    )
  }
  for (const path of folders) {
    if (existsSync(path)) functions.ggml_backend_load_all_from_path(path)
  }
  return functions
}
