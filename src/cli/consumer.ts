import { setTimeout as sleep } from 'node:timers/promises'
import { ShoalError } from '../common/index.ts'
import { type HttpInit, resolveName } from '../models/index.ts'
import {
  cacheFolder,
  type FetchOptions,
  type Library,
  type LibraryInit,
  type NamedModel,
  Node,
  neighboursFolder,
  readSwarmFile,
  type SpeculationSettings
} from '../node/index.ts'
import type { CodecChoice } from '../session/index.ts'
import { UsageError } from './lifetime.ts'

/** Shorter waits for a server are none that anybody wonders about. */
const NOTED_MS = 1_000

export interface ConsumerOptions {
  readonly dataDir: string
  readonly peer?: readonly string[]
  readonly store?: string
  readonly offline?: boolean
  readonly codec?: CodecChoice
  readonly draft?: string
  readonly speculation?: boolean
}

type Say = (message: string) => void

/** A node that only asks, in the swarm that this machine has joined; not started yet. */
export async function consumerNode(options: ConsumerOptions, say: Say = console.error): Promise<Node> {
  const { dataDir, peer: peers = [], offline } = options
  const warn = (message: string): void => say(`warning: ${message}`)
  return new Node({
    ...{ dataDir, listen: [], peers, ephemeral: true, offline },
    joined: await readSwarmFile(dataDir),
    neighbours: neighboursFolder(),
    library: { ...libraryInit(options, say), report: warn },
    codec: options.codec,
    speculation: speculationOf(options),
    onProgress: (message, level) => {
      if (level === 'warning') warn(message)
    }
  })
}

/** As `--draft` and `--no-speculation` have it. */
export function speculationOf({
  draft,
  speculation = true
}: Pick<ConsumerOptions, 'draft' | 'speculation'>): SpeculationSettings {
  return { draft, isOff: !speculation }
}

/** Starts the node only where others have to be asked what is meant. */
export async function findModel(node: Node, name: string, options: FetchOptions): Promise<NamedModel> {
  const { signal } = options
  if (resolveName(name).kind === 'id') await node.start(signal === undefined ? {} : { signal })
  return node.library.find(name, options)
}

/** The models of this machine, for who asks nobody else. */
export async function withLibrary<T>(
  options: ConsumerOptions,
  use: (library: Library) => Promise<T>
): Promise<T> {
  const node = await consumerNode(options)
  try {
    return await use(node.library)
  } finally {
    await node.stop()
  }
}

/** What all nodes of this machine have in common. */
export function libraryInit(
  { store, offline }: Pick<ConsumerOptions, 'store' | 'offline'>,
  say: Say
): Partial<LibraryInit> {
  const http = { ...hubInit(say), ...(offline ? { mayAsk: refuse } : {}) }
  return { cache: cacheFolder(), http, ...(store === undefined ? {} : { folder: store }) }
}

function refuse({ host }: URL): never {
  throw new ShoalError('OFFLINE', `This takes a question to ${host}, and --offline forbids it.`)
}

/** As the hub's own tools are told. */
function hubInit(say: Say): HttpInit {
  const endpoint = process.env.HF_ENDPOINT?.trim() || undefined
  const token = process.env.HF_TOKEN?.trim() || undefined
  if (endpoint !== undefined && !/^https?:$/.test(URL.parse(endpoint)?.protocol ?? '')) {
    throw new UsageError(
      `HF_ENDPOINT is "${endpoint}": it must be an http(s) address of the hub or a mirror.`
    )
  }
  const wait = async (ms: number, signal: AbortSignal | undefined): Promise<void> => {
    if (ms >= NOTED_MS) {
      say(`note: the server is busy or out of reach, and is asked again in ${Math.ceil(ms / 1000)} s`)
    }
    await sleep(ms, undefined, { signal })
  }
  return { endpoint, token, wait }
}
