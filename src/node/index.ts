/** The composition root: one machine's Shoal process, built from its settings. */
export { askNode, type FinishProgress } from './instance.ts'
export { type Invitation, type InviteInit, invite, isFounder, joinPrivate } from './invitation.ts'
export { type HostingSettings, Node, type NodeSettings } from './node.ts'
export { dataFolder } from './paths.ts'
export { type PrivateSwarm, readSwarmFile, type SwarmFile } from './swarm-file.ts'
export { changeList, joinPublic, leaveSwarm, stayLocal } from './swarm-file-changes.ts'
