/** The composition root: one machine's Shoal process, built from its settings. */
export { askNode, type FinishProgress } from './instance.ts'
export { type HostingSettings, Node, type NodeSettings } from './node.ts'
export { dataFolder } from './paths.ts'
