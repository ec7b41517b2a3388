/** What `shoal up` was told, and what of it the API and its page follow. */
import type { KvType } from '../engine/index.ts'
import type { GatewayInit, SharingSettings } from '../gateway/index.ts'
import type { SharingFile } from '../node/index.ts'
import type { CodecChoice } from '../session/index.ts'
import { API_PORT } from './options.ts'

export interface UpOptions {
  readonly model?: string[]
  readonly blocks?: { start: number; end: number } | 'all'
  readonly memory?: number
  readonly peer: string[]
  readonly listen?: string[]
  readonly public?: boolean
  readonly share: boolean
  readonly acceptPlans?: boolean
  readonly context: number
  readonly sessions: number
  readonly threads?: number
  readonly gpuLayers?: number
  readonly kvType: KvType
  readonly upload?: number
  readonly disk?: number
  readonly codec?: CodecChoice
  readonly draft?: string
  readonly speculation: boolean
  readonly store?: string
  readonly api: boolean
  readonly port?: number
  readonly concurrency?: number
  readonly queue?: number
  readonly dataDir: string
  readonly json?: boolean
  readonly offline?: boolean
  readonly verbose?: boolean
}

/** What says how much to give says yes, too; else what was said in the page counts. */
export function startsSharing(
  { share, blocks, memory }: Pick<UpOptions, 'share' | 'blocks' | 'memory'>,
  { isOn }: SharingFile
): boolean {
  if (!share) return isOn ?? false
  return blocks !== undefined || memory !== undefined || (isOn ?? true)
}

/** What the page can't change, since it was said here. */
export function fixedBy({
  memory,
  threads,
  disk,
  upload,
  model,
  blocks
}: UpOptions): Partial<SharingSettings> {
  const given = {
    ...{
      memoryBytes: blocks === undefined ? memory : null,
      threads,
      diskBytes: disk,
      uploadBytesPerSecond: upload
    },
    models: model
  }
  return Object.fromEntries(Object.entries(given).filter(([, value]) => value !== undefined))
}

export function apiInit({ port, sessions, concurrency = sessions, queue }: UpOptions): GatewayInit {
  return {
    port: port ?? API_PORT,
    anyPort: port === undefined,
    concurrency,
    ...(queue !== undefined && { queue })
  }
}

export function sayApi(url: string, { port }: Pick<UpOptions, 'port'>, say: (message: string) => void): void {
  if (port === undefined && !url.endsWith(`:${API_PORT}`)) {
    say(`note: port ${API_PORT} is taken, maybe by another node: this one has another (--port chooses one)`)
  }
  console.log(`api ${url}`)
}
