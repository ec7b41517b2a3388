/** Loads a span as the engine's process does, so that llama.cpp logs its buffers: `load.ts CONTEXT FILE...`. */
import { loadLlama } from '../src/engine/llama/library.ts'
import { loadContext, loadModel } from '../src/engine/llama/load.ts'

const [context, ...files] = process.argv.slice(2)
const init = {
  files,
  context: Number(context),
  sequences: 8,
  threads: 1,
  maxRows: 512,
  maxOutputs: 16,
  kvUnified: true,
  kvTypeK: 'f16',
  kvTypeV: 'f16',
  flashAttention: true,
  gpuLayers: 0,
  vocabularyOnly: false,
  hiddenStates: true
} as const
const llama = loadLlama({ gpu: false })
llama.llama_backend_init()
loadContext(
  llama,
  loadModel(llama, init, () => {}),
  init,
  null
)
process.exit()
