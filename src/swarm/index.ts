/** Who hosts what, and which of them make a chain. */
export { discover, type HostedStage } from './discover.ts'
export { type ChainHop, findChain, NoChainError } from './routing.ts'
