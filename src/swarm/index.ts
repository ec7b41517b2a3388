/** Who hosts what, and which of them make a chain. */
export { Directory, type DirectoryInit } from './directory.ts'
export { discover, type HostedStage } from './discover.ts'
export { type ChainHop, findChain, findCover, NoChainError, profileKey, type Range } from './routing.ts'
