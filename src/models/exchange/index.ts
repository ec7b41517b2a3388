/**
 * Pieces of models between peers, and from them to the store.
 *
 * @example
 * ```ts
 * const exchange = new Exchange({ host, clock, random, models: (id) => store.get(id) }, { bytesPerSecond })
 * host.serve({ ..., pieces: (stream) => exchange.serve(stream) })
 * await exchange.open(peer, addresses, id)
 * await exchange.fetch(model, { parts, onProgress }, { sources: [http], signal })
 * ```
 */
export { Exchange, type ExchangeComponents } from './exchange.ts'
export type { TransferComponents, TransferInit, TransferProgress } from './progress.ts'
export type { SeederInit } from './seeder.ts'
export { Transfer } from './transfer.ts'
