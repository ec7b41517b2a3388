/**
 * What fetching costs: bytes for a span of the middle (R16) and what of it the first node's source still gives a second
 * node; five nodes behind one seeder's upload cap; one peer's throughput against a plain libp2p stream's; and a peer
 * that gives bad pieces. Stores on disk. The swarm's nodes are in this process: the cap keeps them waiting.
 */
import { fork } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { connect, createServer, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { multiaddr } from '@multiformats/multiaddr'
import type { PartName } from '../src/models/content.ts'
import type { PieceReceived, PieceSource, StoredModel } from '../src/models/contract.ts'
import {
  type ExchangeNode,
  exchangeNode,
  MemoryModel,
  type TestModel,
  testModel
} from '../src/models/exchange/testing.ts'
import { Store } from '../src/models/store/index.ts'
import { loadIdentity } from '../src/net/identity.ts'
import { startLibp2p } from '../src/net/libp2p.ts'
import { type Bench, type Figure, median, rounded } from './bench.ts'
import { PLAIN_PROTOCOL } from './pieces-protocol.ts'

const CAP_BYTES_PER_SECOND = 20_000_000 / 8
const MIB = 1024 * 1024

export const bench: Bench = {
  name: 'pieces',
  description: 'fetching spans, a swarm behind one upload cap, throughput, bad pieces: R16 (--rounds N)',
  async run({ flags, log }) {
    const { values } = parseArgs({ args: flags, options: { rounds: { type: 'string', default: '5' } } })
    const folder = await mkdtemp(join(tmpdir(), 'shoal-pieces-'))
    try {
      log('making models of random weights')
      const small = await testModel({ blocks: 16, blockBytes: MIB })
      const figures = {
        ...(await measureSpan(small, join(folder, 'span'))),
        ...(await measureSwarm(small, join(folder, 'swarm'), Number(values.rounds), log)),
        // The smallest that there are, and those of a model of 4 GB.
        ...(await measureThroughput(16 * 1024, join(folder, 'small'), Number(values.rounds), log)),
        ...(await measureThroughput(256 * 1024, join(folder, 'large'), Number(values.rounds), log)),
        ...(await measurePoison(small, join(folder, 'poison')))
      }
      return figures
    } finally {
      await rm(folder, { recursive: true, force: true })
    }
  }
}

class Nodes {
  readonly #closing: (() => Promise<void>)[] = []
  readonly #folder: string

  constructor(folder: string) {
    this.#folder = folder
  }

  async stored({ manifest }: TestModel): Promise<StoredModel> {
    const store = await Store.open({ folder: join(this.#folder, String(this.#closing.length)) })
    this.#closing.push(() => store.close())
    await store.add(manifest)
    return store.get(manifest.id)
  }

  async seeding(model: TestModel): Promise<StoredModel> {
    const stored = await this.stored(model)
    for (const [index, bytes] of model.content.entries()) await stored.write({ index, bytes })
    return stored
  }

  async node(stored: StoredModel, bytesPerSecond?: number): Promise<ExchangeNode> {
    const made = await exchangeNode(() => stored, { seed: this.#closing.length, bytesPerSecond })
    this.#closing.push(async () => {
      await made.exchange.stop()
      await made.host.stop()
    })
    return made
  }

  async close(): Promise<void> {
    for (const close of this.#closing.toReversed()) await close()
  }
}

/** A remote file that counts. */
class CountingSource implements PieceSource {
  readonly name = 'the source'
  readonly kind = 'http'
  bytes = 0
  readonly #model: TestModel

  constructor(model: TestModel) {
    this.#model = model
  }

  has(): boolean {
    return true
  }

  async fetch(indices: readonly number[], onPiece: (piece: PieceReceived) => void): Promise<void> {
    for (const index of indices) {
      await new Promise((resolve) => setImmediate(resolve))
      const bytes = this.#model.content[index] as Uint8Array
      this.bytes += bytes.byteLength
      onPiece({ index, bytes })
    }
  }

  async close(): Promise<void> {}
}

/** Passes bytes on to an address on loopback and counts them, both ways: all that a socket sees. */
async function countingProxy(
  address: string
): Promise<{ address: string; bytes: () => number; close: () => void }> {
  const port = Number(/\/tcp\/(\d+)/.exec(address)?.[1])
  let bytes = 0
  const sockets: Socket[] = []
  const server = createServer((near) => {
    const far = connect(port, '127.0.0.1')
    sockets.push(near, far)
    for (const [from, to] of [
      [near, far],
      [far, near]
    ] as const) {
      from.on('data', (chunk) => {
        bytes += chunk.byteLength
        to.write(chunk)
      })
      from.on('error', () => to.destroy())
      from.on('close', () => to.destroy())
    }
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port: own } = server.address() as { port: number }
  const close = (): void => {
    for (const socket of sockets) socket.destroy()
    server.close()
  }
  return { address: address.replace(`/tcp/${port}`, `/tcp/${own}`), bytes: () => bytes, close }
}

async function measureSpan(model: TestModel, folder: string): Promise<Record<string, Figure>> {
  const nodes = new Nodes(folder)
  const parts = new Set<PartName>([
    'globals',
    ...[5, 6, 7, 8, 9, 10].map((block) => `block-${block}` as const)
  ])
  const assigned = bytesOf(model, parts)
  const source = new CountingSource(model)
  const [first, second] = [await nodes.stored(model), await nodes.stored(model)]
  const [a, b] = [await nodes.node(first), await nodes.node(second)]
  const proxy = await countingProxy(a.host.addresses[0] as string)
  try {
    await a.exchange.fetch(first, { parts }, { sources: [source] })
    const fromSource = source.bytes
    source.bytes = 0
    const { id } = model.manifest
    await b.exchange.fetchManifest(a.host.peerId, [proxy.address], id)
    await b.exchange.open(a.host.peerId, [proxy.address], id)
    await b.exchange.fetch(second, { parts }, { sources: [source] })
    return {
      'span, bytes on the wire': {
        ...{ value: rounded(proxy.bytes() / assigned), target: '<= 1.02', unit: 'x assigned' },
        note: `R16: all of the connection, encrypted, both ways, manifest too; ${assigned} bytes in 6 of 16 blocks and globals`
      },
      'span, first node from source': { value: rounded(fromSource / assigned), unit: 'x assigned' },
      'span, second node from source': { value: source.bytes, target: '0', unit: 'bytes' }
    }
  } finally {
    proxy.close()
    await nodes.close()
  }
}

function bytesOf({ manifest, pieces }: TestModel, parts: ReadonlySet<PartName>): number {
  const indices = pieces.of(manifest.items.filter(({ part }) => parts.has(part)))
  return indices.reduce((sum, index) => sum + pieces.at(index).byteLength, 0)
}

async function measureSwarm(
  model: TestModel,
  folder: string,
  rounds: number,
  log: (message: string) => void
): Promise<Record<string, Figure>> {
  const ideal = bytesOf(model, model.allParts) / CAP_BYTES_PER_SECOND
  const runs: number[] = []
  for (let round = 0; round < rounds; round++) {
    const nodes = new Nodes(join(folder, String(round)))
    const seeder = await nodes.node(await nodes.seeding(model), CAP_BYTES_PER_SECOND)
    const leechers: { node: ExchangeNode; stored: StoredModel }[] = []
    for (let count = 0; count < 4; count++) {
      const stored = await nodes.stored(model)
      leechers.push({ node: await nodes.node(stored), stored })
    }
    const start = performance.now()
    await Promise.all(
      leechers.map(async ({ node, stored }, index) => {
        const others = [seeder, ...leechers.slice(index + 1).map((leecher) => leecher.node)]
        for (const { host } of others)
          await node.exchange.open(host.peerId, host.addresses, model.manifest.id)
        await node.exchange.fetch(stored, { parts: model.allParts })
      })
    )
    runs.push(rounded((performance.now() - start) / 1000 / ideal))
    log(`swarm of five: ${runs.at(-1)} x the ideal ${ideal.toFixed(1)} s`)
    await nodes.close()
  }
  return {
    'swarm of five, all complete': {
      ...{ value: median(runs), target: '<= 1.3', unit: 'x ideal', runs },
      note: `one seeder with 20 Mbit/s, ${bytesOf(model, model.allParts)} bytes: ideally ${ideal.toFixed(1)} s`
    }
  }
}

async function measureThroughput(
  pieceBytes: number,
  folder: string,
  rounds: number,
  log: (message: string) => void
): Promise<Record<string, Figure>> {
  const model = await testModel({ blocks: 16, blockBytes: 4 * MIB, pieceBytes })
  const sizes = model.content.map((bytes) => bytes.byteLength)
  const bytes = sizes.reduce((sum, size) => sum + size, 0)
  const nodes = new Nodes(join(folder, 'leecher'))
  const filling = new Nodes(join(folder, 'seeder'))
  await filling.seeding(model)
  await filling.close()
  const peer = fork(join(import.meta.dirname, 'pieces-peer.ts'))
  try {
    const ready = once(peer, 'message')
    peer.send({ folder: join(folder, 'seeder', '0'), id: model.manifest.id, sizes })
    const [seeder] = (await ready) as [{ peer: string; addresses: string[]; plainAddress: string }]
    const plain: number[] = []
    const disk: number[] = []
    const memory: number[] = []
    for (let round = -1; round < rounds; round++) {
      const run = {
        plain: await plainRate(seeder.plainAddress, bytes),
        disk: await exchangeRate(nodes, await nodes.stored(model), model, seeder),
        memory: await exchangeRate(nodes, new MemoryModel(model), model, seeder)
      }
      log(
        `MB/s: plain ${run.plain.toFixed(1)}, to disk ${run.disk.toFixed(1)}, to memory ${run.memory.toFixed(1)}`
      )
      if (round < 0) continue // the first only warms caches
      plain.push(run.plain)
      disk.push(run.disk / run.plain)
      memory.push(run.memory / run.plain)
    }
    const pieces = `pieces of ${pieceBytes / 1024} KiB`
    return {
      [`plain libp2p stream, ${pieces}`]: {
        value: rounded(median(plain)),
        unit: 'MB/s',
        runs: plain.map(rounded)
      },
      [`one peer, disk to disk, ${pieces}`]: {
        ...{ value: rounded(median(disk)), target: '>= 0.6', unit: 'x plain', runs: disk.map(rounded) },
        note: `${bytes} bytes; two processes`
      },
      [`one peer, disk to memory, ${pieces}`]: {
        ...{ value: rounded(median(memory)), unit: 'x plain', runs: memory.map(rounded) }
      }
    }
  } finally {
    peer.disconnect()
    await nodes.close()
  }
}

async function exchangeRate(
  nodes: Nodes,
  stored: StoredModel,
  { manifest, allParts }: TestModel,
  seeder: { peer: string; addresses: string[] }
): Promise<number> {
  const node = await nodes.node(stored)
  await node.exchange.open(seeder.peer, seeder.addresses, manifest.id)
  const start = performance.now()
  await node.exchange.fetch(stored, { parts: allParts })
  const rate = manifest.byteLength / 1000 / (performance.now() - start)
  await node.exchange.stop()
  await node.host.stop()
  return rate
}

/** MB per second. */
async function plainRate(address: string, bytes: number): Promise<number> {
  const node = await startLibp2p(loadIdentity({ ephemeral: true }), [], () => true)
  const connection = await node.dial(multiaddr(address))
  const start = performance.now()
  const stream = await connection.newStream(PLAIN_PROTOCOL)
  await new Promise<void>((resolve) => {
    let received = 0
    stream.addEventListener('message', ({ data }) => {
      received += data.byteLength
      if (received >= bytes) resolve()
    })
  })
  const rate = bytes / 1000 / (performance.now() - start)
  await node.stop()
  return rate
}

async function measurePoison(model: TestModel, folder: string): Promise<Record<string, Figure>> {
  const nodes = new Nodes(folder)
  try {
    const bad = new MemoryModel(model, () => true)
    for (const [index, bytes] of bad.bytes.entries()) bad.bytes[index] = bytes?.map((byte) => byte ^ 1)
    const seeders = [await nodes.node(await nodes.seeding(model)), await nodes.node(bad)]
    seeders.push(await nodes.node(await nodes.seeding(model)))
    const stored = await nodes.stored(model)
    const leecher = await nodes.node(stored)
    for (const { host } of seeders)
      await leecher.exchange.open(host.peerId, host.addresses, model.manifest.id)
    let cut = 0
    await leecher.exchange.fetch(stored, { parts: model.allParts, onBadSource: () => cut++ })
    let damaged = 0
    for (const index of model.content.keys()) {
      const bytes = await stored.read(index).catch(() => undefined)
      if (bytes === undefined || !model.pieces.isIntact(index, bytes)) damaged++
    }
    return {
      'one of three gives bad pieces, cut': { value: cut, target: '1', unit: 'peers' },
      'bad or missing pieces on disk': { value: damaged, target: '0', unit: 'pieces' }
    }
  } finally {
    await nodes.close()
  }
}
