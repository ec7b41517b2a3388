/** Pieces from peers, and to them. */
export { Exchange, type ExchangeComponents } from './exchange.ts'
export type { TransferProgress } from './progress.ts'
export type { SeederInit } from './seeder.ts'
export { Transfer, type TransferInit } from './transfer.ts'
