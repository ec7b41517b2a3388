/** The composition root: one machine's Shoal process, built from its settings. */
export { askNode, type FinishProgress } from './instance.ts'
export { type Invitation, type InviteInit, invite, isFounder, joinPrivate } from './invitation.ts'
export { type ContributionSettings, type HostingSettings, Node, type NodeSettings } from './node.ts'
export type { WayRequest } from './participant.ts'
export { dataFolder, neighboursFolder } from './paths.ts'
export type { JoinStep, ModelStatus, NodeStatus } from './status.ts'
export { type PrivateSwarm, readSwarmFile, type SwarmFile } from './swarm-file.ts'
export { changeList, joinPublic, leaveSwarm, stayLocal } from './swarm-file-changes.ts'
