/** What the pages are tried against: nodes on loopback that host the embedded model, and a person's own node. */
import { cp, mkdir, mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { systemClock } from '../../src/common/index.ts'
import { Control, conditionsHere, Node, NodeGateway } from '../../src/node/index.ts'
import { TestHub } from '../hub.ts'
import { DEMO } from '../swarm.ts'

const LOOPBACK = '/ip4/127.0.0.1/tcp/0'
const ENGINE = { context: 4096, sessions: 8, threads: 1, gpuLayers: 0, kvType: 'f16' } as const
/** Three nodes that answer together. */
export const SPANS = ['0-3', '3-6', '6-8'] as const
/** Nobody has it yet; the hub gives it. */
export const ON_HUB = 'hf:someone/plain:Q8_0'

export class Place {
  /** Of the gateway and its pages. */
  readonly url: string
  readonly #folder: string
  readonly #nodes: Map<string, Node[]>
  readonly #rest: readonly { stop(): Promise<void> }[]

  private constructor(
    url: string,
    folder: string,
    nodes: Map<string, Node[]>,
    rest: readonly { stop(): Promise<void> }[]
  ) {
    this.url = url
    this.#folder = folder
    this.#nodes = nodes
    this.#rest = rest
  }

  /** A node for each span, such as '0-3', and the own node, which shares nothing yet. */
  static async start(spans: readonly string[] = SPANS): Promise<Place> {
    const folder = await mkdtemp(join(tmpdir(), 'shoal-pages-'))
    const nodes = new Map<string, Node[]>()
    const repository = join(folder, 'hub', 'someone', 'plain')
    await mkdir(repository, { recursive: true })
    await cp(DEMO, join(repository, 'demo-Q8_0.gguf'))
    const hub = await TestHub.start({ folder: join(folder, 'hub') })
    for (const span of spans) await host(folder, nodes, span)
    const dataDir = join(folder, 'own')
    const own = new Node({
      ...{ dataDir, listen: [LOOPBACK], peers: addressesOf(nodes), startsSharing: false },
      library: {
        folder: join(folder, 'store'),
        cache: join(folder, 'cache'),
        http: { endpoint: hub.endpoint }
      },
      contribution: { ...ENGINE, models: [DEMO], memoryBytes: undefined }
    })
    const control = new Control(
      { node: own, clock: systemClock, conditions: conditionsHere() },
      {
        ...{ dataDir, store: join(folder, 'store'), fixed: {} },
        file: { hasSaidYes: false, settings: {}, withheld: [] }
      }
    )
    const gateway = new NodeGateway(own, { port: 0, chainMs: 5_000 }, { control })
    for (const part of [control, own, gateway]) await part.start()
    await ask(gateway.url)
    const rest = [gateway, own, control, { stop: () => hub.close() }]
    return new Place(gateway.url, folder, nodes, rest)
  }

  async host(span: string): Promise<void> {
    await host(this.#folder, this.#nodes, span)
  }

  /** All connections of the nodes with this span are reset, as when their processes are killed. */
  async lose(span: string, chosen: (peer: string) => boolean = () => true): Promise<void> {
    const all = this.#nodes.get(span) ?? []
    const lost = all.filter(({ host }) => chosen(host.peerId))
    this.#nodes.set(
      span,
      all.filter((node) => !lost.includes(node))
    )
    await Promise.all(lost.map(({ host }) => host.stop()))
    await Promise.all(lost.map((node) => node.stop()))
  }

  /** Block-tokens that the nodes with this span have computed, by their peer ids. */
  computed(span: string): ReadonlyMap<string, number> {
    const nodes = this.#nodes.get(span) ?? []
    return new Map(nodes.map(({ host, contributed }) => [host.peerId, contributed.thisRun.blockTokens]))
  }

  async stop(): Promise<void> {
    for (const part of this.#rest) await part.stop()
    await Promise.all([...this.#nodes.values()].flat().map((node) => node.stop()))
    await rm(this.#folder, { recursive: true, force: true })
  }
}

/** One word: from then on the own node follows who hosts the model, and hears at once of who goes and comes. */
async function ask(url: string): Promise<void> {
  const messages = [{ role: 'user', content: 'Hello' }]
  const body = JSON.stringify({ model: 'demo', messages, max_tokens: 1 })
  const headers = { 'content-type': 'application/json' }
  const response = await fetch(`${url}/v1/chat/completions`, { method: 'POST', body, headers })
  if (!response.ok) throw new Error(await response.text())
}

function addressesOf(nodes: ReadonlyMap<string, readonly Node[]>): string[] {
  return [...nodes.values()].flat().flatMap(({ host }) => host.addresses)
}

async function host(folder: string, nodes: Map<string, Node[]>, span: string): Promise<void> {
  const [start = 0, end = 0] = span.split('-').map(Number)
  const node = new Node({
    dataDir: await mkdtemp(join(folder, 'node-')),
    ...{ listen: [LOOPBACK], peers: addressesOf(nodes) },
    hosting: { ...ENGINE, model: DEMO, blocks: { start, end } }
  })
  await node.start()
  nodes.set(span, [...(nodes.get(span) ?? []), node])
}
