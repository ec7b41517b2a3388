/** What the suites talk to: a gateway on loopback, and what has to be known of it. */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { systemClock } from '../../src/common/index.ts'
import { Gateway, KeyStore, type SwarmView } from '../../src/gateway/index.ts'
import { HOLED, PARROT, Parrot } from './parrot.ts'

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

const view: SwarmView = {
  notReady: () => undefined,
  snapshot: () => ({
    self: {
      peer: '',
      version: '',
      swarm: { kind: 'local' },
      hosting: [],
      placement: '',
      sessions: 0,
      peers: 0
    },
    models: [],
    nodes: []
  })
}

export async function serve(): Promise<Served> {
  const folder = await mkdtemp(join(tmpdir(), 'shoal-conformance-'))
  const keysFile = join(folder, 'keys.db')
  const keys = new KeyStore(keysFile)
  const now = systemClock.wall()
  const { secret: key } = keys.create('suite', {}, now)
  const { secret: limitedKey } = keys.create('limited', { requestsPerMinute: 1 }, now)
  keys.close()
  const gateway = new Gateway(
    { answers: new Parrot(), swarm: view, clock: systemClock },
    { port: 0, keysFile }
  )
  await gateway.start()
  return {
    url: gateway.url,
    key,
    limitedKey,
    model: PARROT.name,
    holed: HOLED.name,
    tooLong: 'tide and stone '.repeat(20_000),
    idle: () => idle(gateway),
    stop: async () => {
      await gateway.stop()
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
