/** Nodes on loopback in this process, with the embedded model, and what the whole model says. */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { expect, vi } from 'vitest'
import { LlamaEngine, type SamplerSettings } from '../src/engine/index.ts'
import { openModel } from '../src/models/index.ts'
import { type HostingSettings, Node } from '../src/node/index.ts'
import { type ChainHop, discover, findChain, NamedNodes, prefillRows } from '../src/swarm/index.ts'

export const DEMO = fileURLToPath(new URL('../models/demo.gguf', import.meta.url))
export const BLOCKS = 8
const CONTEXT = 1024
const SESSIONS = 4
const LOOPBACK = '/ip4/127.0.0.1/tcp/0'
/** Nothing that a test waits for takes as long on an idle machine. */
const PATIENCE = { timeout: 20_000, interval: 5 }

/** Resolves when `check` no longer throws. */
export function eventually<T>(check: () => T, timeout: number = PATIENCE.timeout): Promise<T> {
  return vi.waitFor(check, { ...PATIENCE, timeout })
}

export class TestSwarm {
  readonly consumer: Node
  readonly nodes: Node[] = []
  readonly #folder: string
  /** Of all nodes that ever were. */
  readonly #addresses: string[] = []
  #hosted = 0
  private constructor(folder: string) {
    this.#folder = folder
    this.consumer = new Node({ dataDir: join(folder, 'consumer'), listen: [], peers: [], ephemeral: true })
  }

  /** One node for each span, such as '0-3', and a consumer. */
  static async start(spans: readonly string[], settings: Partial<HostingSettings> = {}): Promise<TestSwarm> {
    const swarm = new TestSwarm(await mkdtemp(join(tmpdir(), 'shoal-swarm-')))
    try {
      await swarm.consumer.start()
      await Promise.all(spans.map((span) => swarm.host(span, settings)))
    } catch (error) {
      await swarm.stop()
      throw error
    }
    return swarm
  }

  async host(span: string, settings: Partial<HostingSettings> = {}): Promise<Node> {
    const [start = 0, end = BLOCKS] = span.split('-').map(Number)
    const hosting = {
      model: DEMO,
      blocks: { start, end },
      context: CONTEXT,
      sessions: SESSIONS,
      kvType: 'f16' as const
    }
    const node = new Node({
      dataDir: join(this.#folder, `node-${this.#hosted++}`),
      listen: [LOOPBACK],
      peers: [],
      hosting: { ...hosting, threads: 1, gpuLayers: 0, ...settings }
    })
    this.nodes.push(node)
    await node.start()
    this.#addresses.push(node.host.addresses[0] as string)
    return node
  }

  /** Hosts what no node has of `spans`, or not as often, and stops nodes that are too many. */
  async shape(spans: readonly string[]): Promise<void> {
    const missing = [...spans]
    const surplus = this.nodes.filter(({ stage }) => {
      const index = missing.indexOf(`${stage?.info.start}-${stage?.info.end}`)
      if (index >= 0) missing.splice(index, 1)
      return index < 0
    })
    await Promise.all([this.lose(...surplus), ...missing.map((span) => this.host(span))])
  }

  /** Another consumer, which has no connections yet; to be stopped by whoever asks for it. */
  async stranger(): Promise<Node> {
    const node = new Node({ dataDir: join(this.#folder, 'stranger'), listen: [], peers: [], ephemeral: true })
    await node.start()
    return node
  }

  /** A new directory, which asks all nodes, those that come later, too. */
  async directory(): Promise<NamedNodes> {
    const directory = new NamedNodes(this.consumer, { addresses: this.#addresses })
    await directory.refresh()
    return directory
  }

  /** The node at a hop. */
  at({ peer }: { readonly peer: string } = { peer: 'nobody' }): Node {
    const node = this.nodes.find(({ host }) => host.peerId === peer)
    if (node === undefined) throw new Error(`no node is ${peer}`)
    return node
  }

  /** All its connections are reset, as when its process is killed. */
  async lose(...nodes: readonly Node[]): Promise<void> {
    await Promise.all(nodes.map(({ host }) => host.stop()))
    for (const node of nodes) this.nodes.splice(this.nodes.indexOf(node), 1)
    await Promise.all(nodes.map((node) => node.stop()))
  }

  /** Resolves when no session holds anything, on any node or those given. */
  async allFree(nodes: readonly Node[] = this.nodes, timeout?: number): Promise<void> {
    const free = { sequences: SESSIONS, positions: CONTEXT }
    await eventually(() => {
      expect(nodes.map(({ stage }) => stage?.free)).toEqual(nodes.map(() => free))
    }, timeout)
  }

  /** The chain over `nodes`, by default all of them. */
  async chain(nodes: readonly Node[] = this.nodes): Promise<ChainHop[]> {
    const stages = await discover(
      this.consumer.host,
      nodes.map(({ host }) => host.addresses[0] as string)
    )
    const model = await openModel(DEMO)
    await model.close()
    return findChain(stages, model.id)
  }

  async stop(): Promise<void> {
    await Promise.all([this.consumer, ...this.nodes].map((node) => node.stop()))
    await rm(this.#folder, { recursive: true, force: true })
  }
}

/** The whole model in an engine of its own. */
export function wholeModel(): LlamaEngine {
  return new LlamaEngine({ files: [DEMO], context: 1024, sequences: 1, threads: 1, gpuLayers: 0 })
}

/** What the whole model says after `prompt`, end token included. */
export async function wholeAnswer(
  engine: LlamaEngine,
  prompt: Int32Array,
  count: number,
  settings: SamplerSettings = { temperature: 0, seed: 0 }
): Promise<number[]> {
  await engine.drop(0)
  await engine.setSampler(0, settings)
  const drawn: number[] = []
  let position = 0
  let rows = prompt
  while (drawn.length < count && !engine.description.endTokens.includes(drawn.at(-1) ?? -1)) {
    // As a session cuts its prompts, so that the whole model computes the same batches.
    const count = prefillRows(rows.length)
    const tokens = rows.subarray(0, count)
    rows = rows.subarray(count)
    const output = rows.length === 0 ? 'sample-last' : 'none'
    const { groups } = await engine.run([{ sequence: 0, position, tokens, output }])
    const [group] = groups
    if (group?.error !== undefined) throw group.error
    position += tokens.length
    if (group?.sampled === undefined) continue
    drawn.push(group.sampled[0] as number)
    rows = group.sampled
  }
  return drawn
}
