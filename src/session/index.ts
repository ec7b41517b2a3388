/**
 * The consumer's side of a session: opens a chain, sends token ids in, and gets drawn tokens back.
 *
 * @example
 * ```ts
 * const session = await openSession({ host }, { chain, sampler: greedy(), reserve: 512 })
 * for await (const token of session.generate(prompt, { maxTokens: 100, endTokens })) ...
 * await session.close()
 * ```
 */

export { BestDrafter } from './best-drafter.ts'
export type { ChainEvent } from './chain.ts'
export type { Draw, GenerateOptions } from './chain-session.ts'
export { type CodecChoice, chooseCodec } from './codec.ts'
export type { Drafter, Guess } from './drafter.ts'
export { SessionError, type SessionErrorCode } from './errors.ts'
export { ModelDrafter, type ModelDrafterInit } from './model-drafter.ts'
export { DraftEngine } from './model-drafter-engine.ts'
export { NgramDrafter } from './ngram-drafter.ts'
export { openSession, type Session, type SessionComponents, type SessionInit } from './open.ts'
export { Relays } from './relay.ts'
export { defaultSampler } from './sampler.ts'
export type { StageSource } from './spares.ts'
export type { SpeculationFigures } from './speculation.ts'
export { type HopFigures, HopStatistics } from './statistics.ts'
