/** Who hosts what, and which of them make a chain. */

export { discover, type HostedStage } from './discover.ts'
export { NamedNodes, type NamedNodesInit } from './named-nodes.ts'
export { type ChainHop, findChain, findCover, NoChainError, profileKey, type Range } from './routing.ts'
