/**
 * Computes a span of a model's blocks, with llama.cpp in a child process.
 *
 * @example
 * ```ts
 * const engine = new LlamaEngine({ files: ['models/demo.gguf'], context: 512, sequences: 4, threads: 2 })
 * await engine.start()
 * const tokens = await engine.tokenize('Once upon a time')
 * await engine.setSampler(0, { temperature: 0, seed: 1 })
 * const { groups } = await engine.run([{ sequence: 0, position: 0, tokens, output: 'sample-last' }])
 * console.log(groups[0]?.sampled)
 * await engine.stop()
 * ```
 */
export {
  type ImportanceEntry,
  type ImportanceSums,
  type ImportanceWeights,
  type QuantizeSettings,
  quantizeFile,
  scoreText,
  sumImportance,
  type TextScores
} from './adaptation.ts'
export type {
  BatchResult,
  DeviceInfo,
  DrawLogs,
  EmbeddingTable,
  Engine,
  EngineDescription,
  EngineInit,
  GroupResult,
  KvType,
  LoadOptions,
  Output,
  RowGroup,
  SamplerSettings
} from './contract.ts'
export { EngineError, type EngineErrorCode } from './errors.ts'
export { COPY, FILE_TYPE_ALIASES, FILE_TYPES } from './file-types.ts'
export type { QuantizeReport } from './llama/quantize.ts'
export { LlamaEngine } from './llama-engine.ts'
