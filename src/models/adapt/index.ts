/** Making a model smaller, and measuring what that costs. */
export { calibrate } from './calibrate.ts'
export { type EvaluateOptions, type EvaluateReport, evaluate, type TextOptions } from './evaluate.ts'
export { type ImportanceMatrix, readImportance, writeImportance } from './importance.ts'
export { OVERRIDE_TYPES, type QuantizedModel, type QuantizeOptions, quantize } from './quantize.ts'
export type { Estimate } from './statistics.ts'
