/** A swarm of `shoal up` processes that decide themselves what to host, and an observer that watches it. */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { setTimeout as delay } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { openModel } from '../src/models/index.ts'
import { Node } from '../src/node/index.ts'
import { findChain, type HostedStage } from '../src/swarm/index.ts'

const SHOAL = fileURLToPath(new URL('../bin/shoal.js', import.meta.url))
const LOOPBACK = '/ip4/127.0.0.1/tcp/0'
const LOOK_MS = 100
/** Nobody has moved or loaded for so long. */
const SETTLED_MS = 5_000
const SETTLE_MS = 120_000

export interface Member {
  readonly process: ChildProcess
  readonly peer: string
  readonly memoryBytes: number
}

export class SwarmOfProcesses {
  /** KV positions of each node. */
  static readonly context = 256
  readonly running = new Set<Member>()
  readonly #folder: string
  readonly #children: ChildProcess[] = []
  #path = ''
  #model = ''
  #bootstrap = ''
  #observer: Node | undefined
  #count = 0

  constructor(folder: string) {
    this.#folder = folder
  }

  /** The node that everybody knows, which hosts nothing, and the observer. */
  async start(path: string): Promise<void> {
    const model = await openModel(path)
    await model.close()
    this.#path = path
    this.#model = model.id
    this.#bootstrap = (await this.#spawn(0, [])).address
    this.#observer = new Node({
      ...{ dataDir: this.#folder, listen: [], peers: [this.#bootstrap], ephemeral: true }
    })
    await this.#observer.start()
    this.#observer.swarm.follow(this.#model)
  }

  async add(memoryBytes: number): Promise<Member> {
    const { process, peer } = await this.#spawn(memoryBytes, ['--peer', this.#bootstrap])
    const member = { process, peer, memoryBytes }
    this.running.add(member)
    return member
  }

  async #spawn(
    memoryBytes: number,
    flags: readonly string[]
  ): Promise<{ process: ChildProcess; peer: string; address: string }> {
    const dataDir = join(this.#folder, `node-${this.#count++}`)
    const settings = ['--memory', `${memoryBytes}B`, '--context', String(SwarmOfProcesses.context)]
    const engine = ['--threads', '1', '--sessions', '2', '--gpu-layers', '0']
    const args = ['up', '--model', this.#path, '--listen', LOOPBACK, '--data-dir', dataDir, '--json']
    const child = spawn(process.execPath, [SHOAL, ...args, ...settings, ...engine, ...flags], {
      stdio: ['ignore', 'pipe', 'inherit', 'ipc']
    })
    this.#children.push(child)
    const [line] = (await Promise.race([
      once(createInterface({ input: child.stdout as NodeJS.ReadableStream }), 'line'),
      once(child, 'exit').then(([code]) => Promise.reject(new Error(`a node ended with code ${code}`)))
    ])) as [string]
    const { peer, addresses } = JSON.parse(line) as { peer: string; addresses: [string] }
    return { process: child, peer, address: addresses[0] }
  }

  /** What the observer knows of: also what is being loaded. */
  get stages(): readonly HostedStage[] {
    return this.#observer?.swarm.directory.stagesOf(this.#model) ?? []
  }

  /** Sorted, such as `0-4 4-9* 9-12`, where a star is still loading. */
  spans(): string[] {
    return this.stages
      .map(({ stage }) => stage)
      .toSorted((a, b) => a.start - b.start || a.end - b.end)
      .map(({ start, end, state }) => `${start}-${end}${state === 'loading' ? '*' : ''}`)
  }

  /** Blocks that nobody else hosts. */
  dependants({ peer }: Member): number {
    const others = this.stages.filter((hosted) => hosted.peer !== peer).map(({ stage }) => stage)
    const [own] = this.stages.filter((hosted) => hosted.peer === peer)
    const { start, end } = own?.stage ?? { start: 0, end: 0 }
    const blocks = Array.from({ length: end - start }, (_, index) => start + index)
    return blocks.filter((block) => !others.some((other) => other.start <= block && block < other.end)).length
  }

  /** Seconds since `since` until a chain of nodes exists that run. */
  async covered(since: number, giveUpMs: number): Promise<number> {
    for (;;) {
      const seconds = (performance.now() - since) / 1000
      const alive = new Set([...this.running].map(({ peer }) => peer))
      try {
        findChain(
          this.stages.filter(({ peer }) => alive.has(peer)),
          this.#model
        )
        return seconds
      } catch (error) {
        if (seconds * 1000 > giveUpMs) {
          throw new Error(`not covered after ${giveUpMs / 1000} s: ${this.spans().join(' ')}`, {
            cause: error
          })
        }
      }
      await delay(LOOK_MS)
    }
  }

  /** Resolves when nobody loads or moves any more. */
  async settled(): Promise<void> {
    const deadline = performance.now() + SETTLE_MS
    let before = ''
    let since = performance.now()
    while (performance.now() - since < SETTLED_MS) {
      const now = this.spans().join(' ')
      if (now !== before || now.includes('*')) since = performance.now()
      if (performance.now() > deadline) throw new Error(`nodes go on moving: ${now}`)
      before = now
      await delay(LOOK_MS)
    }
  }

  /** SIGKILL. Resolves to the spans that they hosted. */
  async kill(members: readonly Member[]): Promise<string[]> {
    const peers = new Set(members.map(({ peer }) => peer))
    const lost = this.stages.filter(({ peer }) => peers.has(peer))
    for (const member of members) {
      this.running.delete(member)
      member.process.kill('SIGKILL')
    }
    return lost.map(({ stage: { start, end } }) => `${start}-${end}`)
  }

  /** How often each node that hosted something has changed its span meanwhile. */
  async watch(ms: number): Promise<number[]> {
    const moves = new Map<string, { span: string; moves: number }>()
    const end = performance.now() + ms
    while (performance.now() < end) {
      for (const { peer, stage } of this.stages) {
        const span = `${stage.start}-${stage.end}`
        const seen = moves.get(peer)
        if (seen === undefined) moves.set(peer, { span, moves: 0 })
        else if (seen.span !== span) moves.set(peer, { span, moves: seen.moves + 1 })
      }
      await delay(LOOK_MS)
    }
    return [...moves.values()].map((seen) => seen.moves)
  }

  async stop(): Promise<void> {
    await this.#observer?.stop()
    await Promise.all(
      this.#children.map(async (child) => {
        if (child.exitCode !== null || child.signalCode !== null) return
        const gone = once(child, 'exit')
        child.kill('SIGKILL')
        await gone
      })
    )
  }
}
