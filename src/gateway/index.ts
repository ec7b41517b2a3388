/**
 * HTTP for programs that speak to OpenAI or Anthropic.
 *
 * @example
 * ```ts
 * const gateway = new Gateway({ answers, swarm, clock: systemClock }, { port: 8642 })
 * await gateway.start()
 * ```
 */
export type { GatewayEnv } from './env.ts'
export { type ApiKey, KEYS_FILE, KeyStore } from './keys.ts'
export type { Limiter, LimiterFactory, OwnerLimits } from './limits.ts'
export {
  type Contribution,
  type InviteReport,
  type InviteRequest,
  type JoinReport,
  type JoinRequest,
  type LogReport,
  type NodeControl,
  type NodeReport,
  type PauseCause,
  type PullReport,
  type PullRequest,
  type PullState,
  type SettingName,
  type SettingsRequest,
  type ShareRequest,
  type SharingReport,
  type SharingSettings,
  type SharingState,
  type StoredModelReport,
  type SwarmMembership,
  sharingSettings
} from './node-control.ts'
export { pages } from './pages.ts'
export type { AnswerRecord, GatewayLog, LogEntry, RequestRecord } from './record.ts'
export { Gateway, type GatewayComponents } from './server.ts'
export type { GatewayInit } from './settings.ts'
export type { HostedSpan, SwarmSnapshot, SwarmView, Throughput } from './swarm-view.ts'
