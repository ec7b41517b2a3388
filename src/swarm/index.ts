/** Who hosts what, and which of them make a chain. */

export { discover, type HostedStage } from './discover.ts'
export {
  type Certified,
  checkCertificate,
  type Grant,
  type Issue,
  issueCertificate,
  ROLES,
  type Role,
  readGrant,
  type SwarmName,
  signGrant,
  swarmId
} from './membership-papers.ts'
export { decodeToken, encodeToken, swarmName, type Token, TokenError } from './membership-token.ts'
export { NamedNodes, type NamedNodesInit } from './named-nodes.ts'
export { findChain, findCover, NoChainError, profileKey } from './routing.ts'
export type { ChainHop, Costs, Demand } from './routing-cost.ts'
export type { Range } from './routing-search.ts'
