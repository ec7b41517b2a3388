/** What a node is told when it is made. */
import type { HostLogger } from '../net/index.ts'
import type { CodecChoice } from '../session/index.ts'
import type { SpeculationSettings } from './drafts.ts'
import type { EngineSettings } from './hosting.ts'
import type { LibraryInit } from './library.ts'
import type { SwarmFile } from './swarm-file.ts'

/** A span to host, whatever the swarm lacks. */
export interface HostingSettings extends EngineSettings {
  /** As the library finds it: a GGUF file, a name, an id. */
  readonly model: string
  /** Blocks `[start, end)`; default: all. */
  readonly blocks?: { readonly start: number; readonly end: number } | undefined
}

/** To host what the swarm lacks most. */
export interface ContributionSettings extends EngineSettings {
  /** As the library finds them: GGUF files, names, ids. */
  readonly models: readonly string[]
  /** Most memory for weights and KV cache, in bytes; default: half of what is free. */
  readonly memoryBytes?: number | undefined
}

export interface NodeSettings {
  /** Identity and spans are kept here; only one node at a time can use it. */
  readonly dataDir: string
  /** Multiaddrs; empty: only dials. Default: by what was joined. */
  readonly listen?: readonly string[]
  /** Multiaddrs of nodes to know from the start. */
  readonly peers: readonly string[]
  /** What this machine has joined. Default: nothing, and nothing but loopback is dialled. */
  readonly joined?: SwarmFile
  /** Folder in which nodes of this machine find each other. Default: they don't. */
  readonly neighbours?: string | undefined
  readonly hosting?: HostingSettings
  readonly contribution?: ContributionSettings
  /** Whether it does so from the start, or when it is told to (`Node.sharing`). Default true. */
  readonly startsSharing?: boolean
  /** Private swarms: host what a planner says. */
  readonly acceptPlans?: boolean
  /** A new identity that is not kept, and no hold on the folder: for consumers that come and go. */
  readonly ephemeral?: boolean
  /** Contact nothing outside this machine, whatever was joined. */
  readonly offline?: boolean | undefined
  /** How the answers that it asks for are guessed ahead. Default: as SpeculationSettings has it. */
  readonly speculation?: SpeculationSettings
  /** What the hidden states of the answers that it asks for travel in. Default f32. */
  readonly codec?: CodecChoice | undefined
  /** Models on disk, and how pieces of them come and go. Default: in `dataDir`. */
  readonly library?: Partial<LibraryInit>
  /** Bytes per session of what was sent, kept in memory for replay; what is more goes to disk. Default 16 MiB. */
  readonly replayMemoryBytes?: number
  readonly logger?: HostLogger
  readonly onProgress?: (message: string, level: 'info' | 'warning') => void
  /** `shoal finish` asks for it: call `finish`, then `stop`. Default: just that. */
  readonly onFinish?: () => void
}
