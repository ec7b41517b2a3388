/** Models on disk: opening them, cutting spans out of them, and certifying that the cuts compute the same. */
export * from './adapt/index.ts'
export { type CertifyOptions, type CertifyReport, type CutReport, certify } from './certify.ts'
export { type CertifyCodecsOptions, type CodecsReport, certifyCodecs } from './certify-codecs.ts'
export { CODEC_LIMITS, type CodecReport } from './certify-costs.ts'
export { type PartName, partsOf } from './content.ts'
export type { PieceSource, StoredModel } from './contract.ts'
export * from './exchange/index.ts'
export {
  type ListedImportance,
  type ListedPart,
  type ListedSource,
  type Listing,
  makeListing,
  readListing
} from './listing.ts'
export { type Manifest, makeManifest, modelOf, readManifest } from './manifest.ts'
export { type ModelMemory, memoryOf } from './memory.ts'
export { describe, type Model, type ModelFile, openModel } from './model-file.ts'
export * from './names/index.ts'
export * from './sources/index.ts'
export { checkSpans, type SpanFiles, type SpanOptions, writeSpan } from './span-files.ts'
export * from './store/index.ts'
export { WholeFile } from './whole-file.ts'
