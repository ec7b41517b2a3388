/** How far other nodes are, and how fast bytes come from them. */
import { setTimeout as delay } from 'node:timers/promises'
import { ShoalError } from '../common/index.ts'
import type { ChainHop } from '../swarm/index.ts'
import type { NamedModel } from './model-finder.ts'
import type { Node } from './node.ts'

export interface Link {
  readonly peer: string
  /** Undefined: it was not reached. */
  readonly way: 'direct' | 'relay' | undefined
  /** The median of some pings, in milliseconds. */
  readonly roundTripMs: number | undefined
  /** Of a short burst that the peer sent here; undefined where it gives no pieces of the model. */
  readonly bytesPerSecond: number | undefined
}

/** The median leaves out two that waited for something. */
const PINGS = 5
/** To connect, and for each answer. */
const ANSWER_MS = 5_000
/** Most that is asked for: 1.7 s at 10 Mbit/s. More where one piece is larger, and no longer than this. */
const RATE_BYTES = 2 * 1024 * 1024
const RATE_MS = 3_000
/** A peer that serves others first is not waited for. */
const TURN_MS = 1_000

/** `model`: what the rate is measured with, where the peer has pieces of it. Rejects with the signal's reason only. */
export async function measureLink(
  node: Node,
  { peer, addresses }: Pick<ChainHop, 'peer' | 'addresses'>,
  model: NamedModel,
  signal: AbortSignal
): Promise<Link> {
  const { host } = node
  const unknown = { peer, way: undefined, roundTripMs: undefined, bytesPerSecond: undefined }
  try {
    await host.info(peer, [...addresses], within(signal, ANSWER_MS))
    const times: number[] = []
    for (let index = 0; index < PINGS; index++) times.push(await host.ping(peer, within(signal, ANSWER_MS)))
    const roundTripMs = times.toSorted((a, b) => a - b)[PINGS >> 1] as number
    const way = host.wayTo(peer)
    // A relay's bytes are others' to spend.
    const isDirect = way === 'direct'
    const bytesPerSecond = isDirect ? await rateFrom(node, peer, model, roundTripMs, signal) : undefined
    return { peer, way, roundTripMs, bytesPerSecond }
  } catch {
    signal.throwIfAborted()
    return unknown
  }
}

/** Pieces of the model, which are thrown away: what this node wants of others goes the same way. */
async function rateFrom(
  { library }: Node,
  peer: string,
  { id, manifest: { pieces } }: NamedModel,
  roundTripMs: number,
  signal: AbortSignal
): Promise<number | undefined> {
  if (pieces === undefined) return undefined
  const limit = new AbortController()
  const either = AbortSignal.any([signal, limit.signal, AbortSignal.timeout(ANSWER_MS + RATE_MS)])
  try {
    const source = await library.exchange.open(peer, [], id, either)
    const most = Math.max(1, Math.floor(RATE_BYTES / pieces.pieceBytes))
    const there = Array.from({ length: pieces.count }, (_, index) => index).filter((index) =>
      source.has(index)
    )
    source.want(limit, true)
    await ready(source, either)
    const [before, startedAt] = [source.receivedBytes, performance.now()]
    const cancel = setTimeout(() => limit.abort(), RATE_MS)
    await source.fetch(there.slice(0, most), () => {}, either).catch(() => {}) // what came until then counts
    clearTimeout(cancel)
    const bytes = source.receivedBytes - before
    // The request had to get there first.
    const tookMs = performance.now() - startedAt - roundTripMs
    return bytes > 0 && tookMs > 0 ? (1000 * bytes) / tookMs : undefined
  } catch {
    return undefined // it has none, or gives none now
  } finally {
    await library.exchange.close(id)
  }
}

type Source = Awaited<ReturnType<Node['library']['exchange']['open']>>

/** Throws where it does not get to this node in time. */
async function ready(source: Source, signal: AbortSignal): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>()
  const stopWatching = source.watch({ onHave: () => {}, onReady: resolve })
  try {
    if (!source.isReady) await Promise.race([promise, delay(TURN_MS, undefined, { signal, ref: false })])
    if (!source.isReady) throw new ShoalError('BUSY', 'it serves others now')
  } finally {
    stopWatching()
  }
}

function within(signal: AbortSignal, ms: number): AbortSignal {
  return AbortSignal.any([signal, AbortSignal.timeout(ms)])
}
