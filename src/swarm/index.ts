/** Who hosts what, and which of them make a chain. */

export { sealAnnouncement } from './announcement.ts'
export type { Content } from './announcer.ts'
export { within } from './deadline.ts'
export type { Change, Directory } from './directory.ts'
export { discover, type HostedStage } from './discover.ts'
export { SwarmError } from './inquiry.ts'
export { Latencies, type Place } from './latency.ts'
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
export { decodeOffer, OFFER, type Offer } from './placement-offer.ts'
export {
  type Caps,
  type HostableModel,
  largestSpanFrom,
  type Span,
  spanBytes
} from './placement-sizes.ts'
export { Placer, type PlacerComponents, type PlacerInit, type Surroundings } from './placer.ts'
export {
  type Machine,
  type Objective,
  type Plan,
  type PlanInput,
  type PlannedModel,
  type PlannedSpan,
  plan,
  predict
} from './planner.ts'
export { machinesOf } from './planner-machines.ts'
export { prefillRows } from './prefill.ts'
export { type Route, type RouteRequest, Router } from './router.ts'
export { findChain, findCover, NoChainError, profileKey } from './routing.ts'
export { type Busyness, type ChainHop, type Costs, costOf, type Demand } from './routing-cost.ts'
export type { Range } from './routing-search.ts'
export { needOf, scout } from './scout.ts'
export type { ModelFacts, Summaries } from './summaries.ts'
export { Swarm, type SwarmComponents, type SwarmInit, type SwarmNetwork } from './swarm.ts'
