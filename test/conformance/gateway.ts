/** What the suites talk to: a gateway on loopback, and what has to be known of it. */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect } from 'vitest'
import { systemClock } from '../../src/common/index.ts'
import { Gateway, KeyStore } from '../../src/gateway/index.ts'
import { answersOf, Node } from '../../src/node/index.ts'
import { swarmView } from '../../src/node/swarm-view.ts'
import { writeModelFile } from '../models/file.ts'
import { tinyModel } from '../models/index.ts'
import { DEMO, eventually } from '../swarm.ts'

export interface Served {
  /** Without `/v1`. */
  readonly url: string
  readonly key: string
  /** Good for one request per minute. */
  readonly limitedKey: string
  readonly model: string
  /** One that nobody hosts some blocks of. */
  readonly holed: string
  /** A prompt that does not fit. */
  readonly tooLong: string
  /** Resolves when nothing is being answered any more. */
  idle(): Promise<void>
  stop(): Promise<void>
}

const LOOPBACK = '/ip4/127.0.0.1/tcp/0'
const ENGINE = { context: 1024, sessions: 8, threads: 1, gpuLayers: 0, kvType: 'f16' } as const
const HOLED = 'tiny-llama'

/** Three nodes that host the embedded model together; the last of them has the gateway, and its consumer's end. */
export async function serve(): Promise<Served> {
  const folder = await mkdtemp(join(tmpdir(), 'shoal-conformance-'))
  const keysFile = join(folder, 'keys.db')
  const keys = new KeyStore(keysFile)
  const now = systemClock.wall()
  const { secret: key } = keys.create('suite', {}, now)
  const { secret: limitedKey } = keys.create('limited', { requestsPerMinute: 1 }, now)
  keys.close()
  const nodes: Node[] = []
  const host = async (model: string, start: number, end: number): Promise<Node> => {
    const peers = nodes.flatMap((node) => node.host.addresses)
    const hosting = { ...ENGINE, model, blocks: { start, end } }
    const node = new Node({ dataDir: join(folder, `${nodes.length}`), listen: [LOOPBACK], peers, hosting })
    nodes.push(node)
    await node.start()
    return node
  }
  const half = await writeModelFile(folder, 'half', tinyModel('llama'))
  await host(half, 0, 1)
  await host(DEMO, 0, 3)
  await host(DEMO, 3, 6)
  const node = await host(DEMO, 6, 8)
  const answers = answersOf(node)
  await eventually(async () => {
    expect((await answers.model('demo')).isCovered).toBe(true)
    expect(await answers.model(HOLED)).toMatchObject({ isCovered: false })
  })
  const gateway = new Gateway({ answers, swarm: swarmView(node), clock: systemClock }, { port: 0, keysFile })
  await gateway.start()
  return {
    url: gateway.url,
    key,
    limitedKey,
    model: 'demo',
    holed: HOLED,
    tooLong: 'tide and stone '.repeat(20_000),
    idle: () => idle(gateway),
    stop: async () => {
      await gateway.stop()
      await answers.stop()
      await Promise.all(nodes.map((one) => one.stop()))
      await rm(folder, { recursive: true })
    }
  }
}

/** Whoever goes away frees everything within this, in milliseconds. */
const FREED_MS = 1_000

async function idle(gateway: Gateway): Promise<void> {
  const end = systemClock.now() + FREED_MS
  while ((await answering(gateway)) > 0) {
    if (systemClock.now() > end) throw new Error('answers go on that nobody reads')
    await new Promise(setImmediate)
  }
}

async function answering({ metrics }: Gateway): Promise<number> {
  const metric = await metrics.registry.getSingleMetric('shoal_gateway_places_taken')?.get()
  const [sample] = metric?.values ?? []
  if (sample === undefined) throw new Error('the gateway does not tell how many places are taken')
  return sample.value
}
