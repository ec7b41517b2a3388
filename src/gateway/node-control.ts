/**
 * `/api/node`: what a person's own node says of itself, and what can be asked of it. Types and schemas only, so that
 * pages may import them. Amounts are bytes, seconds, and bytes per second; times are ISO 8601.
 */
import { z } from 'zod'

const amount = z.int().min(0)
/** 1 kB: less would take a day for a block. */
const rate = z.int().min(1_000)
const modelName = z.string().trim().min(1).max(2_048)
const hour = z.int().min(0).max(23)

/** What a person decides of sharing; `null`: no bound, or as the node sees fit. */
export const sharingSettings = z.strictObject({
  /** Most memory for weights and KV cache. `null`: half of what is free. */
  memoryBytes: amount.nullable(),
  /** Processor threads that compute. `null`: by the size of what is hosted. */
  threads: z.int().min(1).max(1024).nullable(),
  /** Most bytes of models on disk: those used longest ago make room. */
  diskBytes: amount.nullable(),
  /** Of models' pieces, for others. */
  uploadBytesPerSecond: rate.nullable(),
  /** Of models' pieces, from others and from sources. */
  downloadBytesPerSecond: rate.nullable(),
  /** Seven days, Monday first, each with its hours (0 to 23, this machine's time) of sharing. `null`: always. */
  schedule: z.array(z.array(hour).max(24)).length(7).nullable(),
  /** Only while nobody else keeps the processor busy. */
  idleOnly: z.boolean(),
  /** Also while the machine runs on its battery. */
  onBattery: z.boolean(),
  /** To choose from, by name; `null`: as the node was started. */
  models: z.array(modelName).min(1).max(64).nullable()
})

export type SharingSettings = z.infer<typeof sharingSettings>
export type SettingName = keyof SharingSettings

/** `PATCH /api/node/settings`. */
export const settingsRequest = sharingSettings.partial()
/** `POST /api/node/share`: the first `on` is the person's yes. */
export const shareRequest = z.strictObject({ on: z.boolean(), ...settingsRequest.shape })
/** `POST /api/node/models`. */
export const pullRequest = z.strictObject({
  name: modelName,
  /** Only what it takes to host blocks [start, end). */
  blocks: z
    .strictObject({ start: amount, end: amount })
    .refine(({ start, end }) => start < end)
    .optional()
})
/** `PATCH /api/node/models/:id`. */
export const modelRequest = z.strictObject({ seed: z.boolean() })
/** `POST /api/node/invite`. */
export const inviteRequest = z.strictObject({
  /** Of the swarm, where this makes it. */
  name: z.string().trim().min(1).max(64).optional(),
  /** Default: all but `planner`, who tells others what to host. */
  roles: z
    .array(z.enum(['consumer', 'provider', 'seeder', 'planner']))
    .min(1)
    .optional(),
  /** Default: a week. A year at most. */
  expiresSeconds: z
    .int()
    .min(60)
    .max(365 * 86_400)
    .optional(),
  /** Machines that may come with it. Default 1. */
  uses: z.int().min(1).max(10_000).optional()
})
/** `POST /api/node/join`: an invitation, or `public`. */
export const joinRequest = z.strictObject({ token: z.string().trim().min(1).max(16_384) })
/** `POST /api/node/pause`, `/resume`, `/finish`, `/leave`. */
export const emptyRequest = z.strictObject({})

export type SettingsRequest = z.infer<typeof settingsRequest>
export type ShareRequest = z.infer<typeof shareRequest>
export type PullRequest = z.infer<typeof pullRequest>
export type InviteRequest = z.infer<typeof inviteRequest>
export type JoinRequest = z.infer<typeof joinRequest>

/**
 * `off`: it hosts nothing. `starting`: it looks for what to host, or loads it. `on`: it hosts something, or would if the
 * swarm lacked it (`placement` says which). `paused`: no new sessions; those that run go on. `finishing`: those that run
 * move to other nodes or end, two minutes at most; then `off`.
 */
export type SharingState = 'off' | 'starting' | 'on' | 'paused' | 'finishing'
/** `schedule`, `busy` (the processor, by other programs) and `battery` end by themselves. */
export type PauseCause = 'person' | 'schedule' | 'busy' | 'battery'

export interface SharingReport {
  readonly state: SharingState
  /** Whether the person has ever said yes to sharing, in a page. */
  readonly hasSaidYes: boolean
  /** It was told by the command line what to host (`--blocks`), so that it does not choose. */
  readonly isTold: boolean
  readonly pausedBy?: PauseCause | undefined
  /** Why it is paused, in plain words. */
  readonly reason?: string | undefined
  /** Why it hosts what it does, or what it waits for, in plain words. */
  readonly placement: string
  readonly hosting: readonly {
    readonly model: string
    readonly name: string
    /** Blocks [start, end). */
    readonly start: number
    readonly end: number
    readonly blockCount: number
    readonly state: 'loading' | 'ready'
  }[]
  /** Of others, that it computes for now. */
  readonly sessions: number
}

/** What others had of this node. Counted here; nobody else vouches for it. */
export interface Contribution {
  /** Sessions of others in which it computed something. */
  readonly sessions: number
  /** Rows (tokens of prompts and of answers) times the blocks that they went through here: block-tokens. */
  readonly blockTokens: number
  /** Thousands of block-tokens. Later, receipts of those who were served count instead. */
  readonly karma: number
  /** Of models' pieces. */
  readonly bytesSent: number
  /** During which it hosted something for others, or could have. */
  readonly seconds: number
}

export interface StoredModelReport {
  readonly id: string
  readonly name: string
  /** All that it is called here. */
  readonly names: readonly string[]
  readonly architecture: string
  readonly licence?: string | undefined
  readonly blockCount: number
  readonly bytes: number
  readonly bytesThere: number
  readonly pieces: number
  readonly piecesThere: number
  /** The model's pieces in order, as at most 100 equal parts: how much of each is there, from 0 to 1. */
  readonly bar: readonly number[]
  /** Blocks that are all there. */
  readonly blocks: readonly number[]
  readonly lastUsed?: string | undefined
  /** The node hosts some of it: it can't be removed now. */
  readonly isHosted: boolean
  /** It comes in now: see the pulls. */
  readonly isPulled: boolean
  /** Others may have pieces of it. Can be changed where `isHashed`. */
  readonly isSeeded: boolean
  /** Its pieces can be checked by others; else nobody can have them. */
  readonly isHashed: boolean
  /** Of its pieces, to others, ever. */
  readonly bytesSent: number
  /** Bytes sent for each that is there. */
  readonly ratio: number
  /** That exchange pieces of it with this node now. */
  readonly peers: number
}

/** `waiting`: for other pulls to end. */
export type PullState = 'waiting' | 'finding' | 'fetching' | 'done' | 'failed' | 'cancelled'

export interface PullReport {
  /** For `DELETE /api/node/models/:id`, beside the model's: cancels it while it runs, forgets it afterwards. */
  readonly id: string
  /** As it was asked for. */
  readonly name: string
  /** The model's id, once it is found. */
  readonly model?: string | undefined
  readonly state: PullState
  readonly bytes: number
  /** 0 until it is found. */
  readonly totalBytes: number
  readonly bytesPerSecond?: number | undefined
  readonly secondsLeft?: number | undefined
  /** That it comes from now. */
  readonly peers?: number | undefined
  /** In plain words. */
  readonly error?: string | undefined
}

export interface SwarmMembership {
  readonly kind: 'local' | 'public' | 'private'
  readonly name?: string | undefined
}

/** `GET /api/node`, its events `node`, and what all changes but those of swarms are answered with. */
export interface NodeReport {
  readonly peer: string
  /** When it started. */
  readonly since?: string | undefined
  readonly versions: {
    readonly shoal: string
    readonly node: string
    /** `linux x64` and the like. */
    readonly platform: string
  }
  readonly dataFolder: string
  readonly sharing: SharingReport
  readonly contribution: {
    readonly now: {
      readonly blockTokensPerSecond: number
      readonly bytesSentPerSecond: number
    }
    /** Since the node started. */
    readonly thisRun: Contribution
    readonly total: Contribution
  }
  /** As they are set. */
  readonly settings: SharingSettings
  /** Given on the command line, which wins: they can't be changed here. */
  readonly fixed: readonly SettingName[]
  /** Changed, but not in effect until sharing is switched off and on again. */
  readonly needRestart: readonly SettingName[]
  /** To choose settings by. */
  readonly machine: {
    readonly cores: number
    readonly memoryBytes: number
    readonly memoryFreeBytes: number
    /** Of the disk that models are kept on. */
    readonly diskFreeBytes?: number | undefined
    readonly hasBattery: boolean
    /** It can be told what other programs do: `idleOnly` has an effect. */
    readonly canTellIdle: boolean
    /** What sharing takes where nothing is set. */
    readonly defaultMemoryBytes: number
  }
  readonly models: readonly StoredModelReport[]
  /** Those that run, and those that have ended since the node started, the latest first. */
  readonly pulls: readonly PullReport[]
  readonly swarm: SwarmMembership & {
    /** This machine made it. */
    readonly isFounder: boolean
    /** What was joined since, and is taken part in from the next start on. */
    readonly next?: SwarmMembership | undefined
  }
  readonly network: {
    readonly addresses: readonly string[]
    /** That it is connected to. */
    readonly peers: number
    /** `blocked`: it reaches others, or tries to, and nobody reaches it. `local`: nothing beyond this machine. */
    readonly reachability: 'reachable' | 'relayed' | 'blocked' | 'local'
    readonly why: string
    readonly advice?: string | undefined
    /** The ways to find others. */
    readonly steps: readonly {
      readonly name: string
      readonly state: 'off' | 'waiting' | 'done' | 'failed'
      readonly detail: string
      readonly advice?: string | undefined
    }[]
  }
}

/** `GET /api/node/logs?lines=100`: the oldest first. */
export interface LogReport {
  readonly lines: readonly {
    readonly time: string
    readonly level: 'debug' | 'info' | 'warn' | 'error'
    readonly message: string
  }[]
}

/** `POST /api/node/invite`. */
export interface InviteReport {
  /** A secret: whoever has it can connect to the swarm. */
  readonly token: string
  readonly swarm: string
  readonly uses: number
  readonly expires: string
  /** This made the swarm. */
  readonly isNew: boolean
  /** The node takes part in it from its next start on. */
  readonly needsRestart: boolean
  /** Only this machine can be reached at the token's addresses. */
  readonly isLocal: boolean
}

/** `POST /api/node/join` and `/leave`: what the node takes part in from its next start on. */
export interface JoinReport {
  readonly swarm: SwarmMembership
  readonly needsRestart: true
}

/** What the gateway asks its node. All throw a ShoalError that says what to do. */
export interface NodeControl {
  /** Called often: cheap. */
  report(): Promise<NodeReport>
  share(request: ShareRequest): Promise<void>
  pause(): Promise<void>
  resume(): Promise<void>
  /** Resolves at once; it takes two minutes at most. */
  finish(): Promise<void>
  change(settings: SettingsRequest): Promise<void>
  /** Goes on after it has resolved. */
  pull(request: PullRequest): Promise<PullReport>
  /** A model, or a pull. */
  remove(id: string): Promise<void>
  seed(model: string, isWanted: boolean): Promise<void>
  /** At most so many lines. */
  logs(lines: number): Promise<LogReport>
  invite(request: InviteRequest): Promise<InviteReport>
  join(request: JoinRequest, signal: AbortSignal): Promise<JoinReport>
  leave(): Promise<JoinReport>
}
