/** The composition root: one machine's Shoal process, built from its settings. */
export { conditionsHere } from './availability.ts'
export { type BenchInit, type BenchReport, benchmark, type Link, type OwnSpeed } from './bench.ts'
export { changeSetting, readSettings, type Setting, type Settings } from './config.ts'
export { Control } from './control.ts'
export type { SpeculationSettings } from './drafts.ts'
export { askNode, type FinishProgress } from './instance.ts'
export { type Invitation, type InviteInit, invite, isFounder, joinPrivate } from './invitation.ts'
export type { FetchOptions, Library, LibraryInit, NamedModel } from './library.ts'
export { licenceOf } from './model-finder.ts'
export { runningNodes } from './neighbours.ts'
export { Node } from './node.ts'
export { type LogLine, NodeLog, readLog } from './node-log.ts'
export type { WayRequest } from './participant.ts'
export {
  cacheFolder,
  configFile,
  dataFolder,
  historyFile,
  logFile,
  neighboursFolder,
  places
} from './paths.ts'
export { partsWanted } from './pulls.ts'
export { NodeGateway } from './serve-gateway.ts'
export { answersOf } from './serving.ts'
export type { ContributionSettings, HostingSettings, NodeSettings } from './settings.ts'
export { readSharingFile, type SharingFile } from './sharing-file.ts'
export type { JoinStep, ModelStatus, NodeStatus } from './status.ts'
export { type StoredEntry, storedModel, storedModels } from './stored-models.ts'
export { type PrivateSwarm, readSwarmFile, type SwarmFile } from './swarm-file.ts'
export { changeList, joinPublic, leaveSwarm, stayLocal } from './swarm-file-changes.ts'
