/** Providers as processes of their own that come, go and misbehave: a span has several, and each can be lost. */
import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import { readdir, readFile, readlink } from 'node:fs/promises'
import { join } from 'node:path'
import { startProvider } from '../../bench/providers.ts'
import { Node } from '../../src/node/index.ts'
import { type ChainHop, type HostedStage, NamedNodes } from '../../src/swarm/index.ts'
import { type ProfileName, wanChild } from '../wan/index.ts'
import type { Fault } from './faulty-provider.ts'

const FAULTY = join(import.meta.dirname, 'faulty-provider.ts')
const REFRESH_MS = 10_000

/** `shoal up`, or the same node with a host that does what it is told to. */
export type ProviderKind = 'shoal' | 'faulty'

export interface Provider {
  readonly span: string
  readonly kind: ProviderKind
  readonly peer: string
  readonly address: string
  readonly process: ChildProcess
  readonly pid: number
}

export interface SwarmSettings {
  readonly model: string
  /** Such as 0-3, in the order of the chain. */
  readonly spans: readonly string[]
  /** One provider of each span for each of them. */
  readonly kinds: readonly ProviderKind[]
  readonly context: number
  readonly sessions: number
  readonly threads: number
  /** Of the providers' links; the consumer's are those of this process. */
  readonly profile?: ProfileName | undefined
}

export class Swarm {
  readonly settings: SwarmSettings
  readonly consumer: Node
  readonly directory: NamedNodes
  /** Of those that live. Lists that directories keep looking at. */
  readonly addresses: string[] = []
  readonly #folder: string
  #providers: Provider[] = []
  #started = 0
  /** Ended before anybody else could: engines that are stopped don't notice that their node is gone. */
  readonly #stopped = new Set<number>()

  constructor(folder: string, settings: SwarmSettings) {
    this.settings = settings
    this.#folder = folder
    this.consumer = new Node({ dataDir: folder, listen: [], peers: [], ephemeral: true })
    this.directory = new NamedNodes(this.consumer, { addresses: this.addresses })
  }

  /** Those that were not killed. */
  get providers(): readonly Provider[] {
    return this.#providers
  }

  async start(): Promise<void> {
    await this.consumer.start()
    await this.replenish()
  }

  async stop(): Promise<void> {
    for (const pid of this.#stopped) signal(pid, 'SIGKILL')
    await Promise.all(this.#providers.map((provider) => this.kill(provider)))
    await this.consumer.stop()
  }

  of(span: string): readonly Provider[] {
    return this.#providers.filter((provider) => provider.span === span)
  }

  at(peer: string): Provider {
    const found = this.#providers.find((provider) => provider.peer === peer)
    if (found === undefined) throw new Error(`no living provider is ${peer}`)
    return found
  }

  /** Starts one; another one's folder is never used again. */
  async launch(span: string, kind: ProviderKind): Promise<Provider> {
    const { model, context, sessions, threads, profile } = this.settings
    const folder = join(this.#folder, String(this.#started++))
    const provider =
      kind === 'faulty'
        ? await startFaulty({ model, span, folder, context, sessions, threads }, profile)
        : await startShoal(span, folder, this.settings)
    this.#providers.push(provider)
    this.addresses.push(provider.address)
    provider.process.once('exit', () => this.#forget(provider))
    return provider
  }

  #forget(provider: Provider): void {
    this.#providers = this.#providers.filter((other) => other !== provider)
    const index = this.addresses.indexOf(provider.address)
    if (index >= 0) this.addresses.splice(index, 1)
  }

  /** Resolves when the process is gone. */
  async kill(provider: Provider, how: NodeJS.Signals = 'SIGKILL'): Promise<void> {
    const { process } = provider
    this.#forget(provider)
    if (process.exitCode !== null || process.signalCode !== null) return
    const gone = once(process, 'exit')
    process.kill(how)
    await gone
  }

  /** Starts others in the place of those that were killed. */
  async replenish(): Promise<void> {
    const { spans, kinds } = this.settings
    await Promise.all(
      spans.flatMap((span) =>
        [...new Set(kinds)].flatMap((kind) => {
          const wanted = kinds.filter((other) => other === kind).length
          const living = this.of(span).filter((provider) => provider.kind === kind).length
          return Array.from({ length: Math.max(0, wanted - living) }, () => this.launch(span, kind))
        })
      )
    )
    await this.directory.refresh(AbortSignal.timeout(REFRESH_MS))
    // Who came while a round of questions was under way is not in it.
    const known = new Set(this.directory.stages.map(({ peer }) => peer))
    if (this.#providers.some(({ peer }) => !known.has(peer))) {
      await this.directory.refresh(AbortSignal.timeout(REFRESH_MS))
    }
  }

  /** Stops a process (a node's, an engine's) until `resume`. */
  freeze(pid: number): void {
    this.#stopped.add(pid)
    signal(pid, 'SIGSTOP')
  }

  resume(pid: number): void {
    if (this.#stopped.delete(pid)) signal(pid, 'SIGCONT')
  }

  chain(providers: readonly Provider[], stages: readonly HostedStage[] = this.directory.stages): ChainHop[] {
    return providers.map(({ peer }) => {
      const hosted = stages.find((other) => other.peer === peer)
      if (hosted === undefined) throw new Error(`${peer} is not in the directory`)
      return { ...hosted, start: hosted.stage.start, end: hosted.stage.end }
    })
  }
}

async function startShoal(span: string, folder: string, settings: SwarmSettings): Promise<Provider> {
  const { model, context, sessions, threads, profile } = settings
  const numbers = { context, sessions, threads, 'gpu-layers': 0 }
  const flags = Object.entries(numbers).flatMap(([name, value]) => [`--${name}`, String(value)])
  const { address, peer, process } = await startProvider({ model, blocks: span, folder, flags, profile })
  return { span, kind: 'shoal', peer, address, process, pid: process.pid as number }
}

export interface FaultyInit {
  readonly model: string
  readonly span: string
  readonly folder: string
  readonly context: number
  readonly sessions: number
  readonly threads: number
}

async function startFaulty(init: FaultyInit, profile: ProfileName | undefined): Promise<Provider> {
  const process = fork(FAULTY, [JSON.stringify(init)], wanChild(profile))
  const exit = once(process, 'exit').then(([code]) => {
    throw new Error(`the faulty provider of blocks ${init.span} ended with code ${code}`)
  })
  exit.catch(() => {})
  const [{ peer, address }] = (await Promise.race([once(process, 'message'), exit])) as [
    { peer: string; address: string }
  ]
  return { span: init.span, kind: 'faulty', peer, address, process, pid: process.pid as number }
}

/** Tells a faulty provider how to be from now on; resolves to the number of frames that it has harmed so far. */
export async function command({ process }: Provider, fault: Fault): Promise<number> {
  const over = new AbortController()
  const { signal } = over
  const answered = once(process, 'message', { signal })
  const gone = once(process, 'exit', { signal }).then(() => [{ struck: 0 }])
  process.send(fault)
  const [{ struck }] = (await Promise.race([answered, gone])) as [{ struck: number }]
  for (const rest of [answered, gone]) rest.catch(() => {})
  over.abort()
  return struck
}

/** The engine's process of a node. */
export async function engineOf({ pid }: Provider): Promise<number> {
  const children = (await readFile(`/proc/${pid}/task/${pid}/children`, 'utf8')).trim().split(' ')
  const engine = Number(children[0])
  if (children.length !== 1 || !(engine > 0)) throw new Error(`node ${pid} has the children ${children}`)
  return engine
}

export function signal(pid: number, name: NodeJS.Signals): void {
  try {
    process.kill(pid, name)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error
  }
}

export interface Handles {
  readonly all: number
  /** Replay logs that went to disk. */
  readonly logs: number
}

/** What a process has open. */
export async function handlesOf(pid: number): Promise<Handles> {
  const folder = `/proc/${pid}/fd`
  const names = await readdir(folder)
  const targets = await Promise.all(names.map((name) => readlink(join(folder, name)).catch(() => '')))
  const logs = targets.filter((target) => target.includes('.replay'))
  return { all: targets.filter((target) => target !== '').length, logs: logs.length }
}
