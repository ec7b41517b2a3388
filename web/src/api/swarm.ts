import type { SwarmSnapshot, Throughput } from '../../../src/gateway/swarm-view.ts'
import { type Live, useLive } from './live.ts'

export type SwarmReport = SwarmSnapshot & { readonly gateway: Throughput }
export type SwarmModel = SwarmReport['models'][number]
export type SwarmNode = SwarmReport['nodes'][number]

export function useSwarm(): Live<SwarmReport> {
  return useLive<SwarmReport>('/api/swarm')
}
