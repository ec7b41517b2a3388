/** Models, a store in memory, and nodes that exchange pieces, for tests and benches. */
import { createHash } from 'node:crypto'
import { create, fromBinary, toBinary } from '@bufbuild/protobuf'
import { ShoalError, systemClock } from '../../common/index.ts'
import {
  type Metadata,
  memorySource,
  planGguf,
  readGguf,
  type TensorToWrite,
  writeGguf
} from '../../gguf/index.ts'
import { createHost, type Host } from '../../net/index.ts'
import { randomOf } from '../../swarm/testing-clock.ts'
import { type PartName, TOKENIZER } from '../content.ts'
import type { PieceReceived, StoredModel } from '../contract.ts'
import { itemsOf, type Manifest, makeManifest, readManifest } from '../manifest.ts'
import { ManifestSchema } from '../manifest_pb.ts'
import { PieceTable } from '../pieces.ts'
import { Exchange, type ExchangeComponents } from './exchange.ts'
import type { SeederInit } from './seeder.ts'

export interface TestModel {
  readonly manifest: Manifest
  readonly pieces: PieceTable
  /** The bytes of each piece. */
  readonly content: readonly Uint8Array[]
  readonly allParts: ReadonlySet<PartName>
}

/** Blocks of one tensor each, of random bytes. Pieces as large as a model of that size has them, or as they are said to be. */
export async function testModel({
  blocks = 4,
  blockBytes = 160 * 1024,
  seed = 1,
  pieceBytes = 0
} = {}): Promise<TestModel> {
  const random = randomOf(seed)
  const noise = (byteLength: number): Uint8Array => {
    const numbers = Uint32Array.from({ length: byteLength / 4 }, () => random() * 2 ** 32)
    return new Uint8Array(numbers.buffer)
  }
  const width = 64
  const metadata: Metadata = new Map([
    ['general.architecture', { type: 'string', value: 'llama' }],
    ['llama.block_count', { type: 'u32', value: blocks }],
    ['tokenizer.ggml.tokens', { type: 'array', itemType: 'string', value: ['a', 'b'] }]
  ])
  const tensor = (name: string, byteLength: number): TensorToWrite => ({
    ...{ name, type: 'F32', dims: [width, byteLength / width / 4] },
    data: noise(byteLength)
  })
  const tensors = [
    tensor('token_embd.weight', 64 * 1024),
    tensor('output_norm.weight', 256),
    tensor('output.weight', 64 * 1024),
    ...Array.from({ length: blocks }, (_, block) => tensor(`blk.${block}.ffn_up.weight`, blockBytes))
  ]
  const plan = planGguf({ metadata, tensors })
  const file = new Uint8Array(plan.byteLength)
  let length = 0
  await writeGguf(
    {
      write: async (chunk) => {
        file.set(chunk, length)
        length += chunk.byteLength
      }
    },
    plan
  )
  return modelOf(file, pieceBytes)
}

async function modelOf(file: Uint8Array, pieceBytes: number): Promise<TestModel> {
  const model = await readGguf(memorySource(file))
  const made = await makeManifest(model)
  const keys = new Map([...model.metadata].filter(([key]) => key.startsWith('tokenizer.')))
  const tokenizer = planGguf({ metadata: keys, tensors: [] }).header
  const contentOf = (table: PieceTable): Uint8Array[] =>
    Array.from({ length: table.count }, (_, index) => {
      const { item, offset, byteLength } = table.at(index)
      const start = item.name === TOKENIZER ? 0 : (model.tensors.get(item.name)?.offset ?? 0)
      const from = item.name === TOKENIZER ? tokenizer : file
      return from.subarray(start + offset, start + offset + byteLength)
    })
  const manifest =
    pieceBytes === 0 ? made : withPieces(made, pieceBytes, contentOf(new PieceTable(made.items, pieceBytes)))
  const pieces = manifest.pieces as PieceTable
  return {
    manifest,
    pieces,
    content: contentOf(pieces),
    allParts: new Set(made.items.map(({ part }) => part))
  }
}

/** The same model, cut as a larger one would be. */
function withPieces({ bytes }: Manifest, pieceBytes: number, content: readonly Uint8Array[]): Manifest {
  const message = fromBinary(ManifestSchema, bytes)
  const pieces = Buffer.concat(content.map((piece) => createHash('sha256').update(piece).digest()))
  return readManifest(toBinary(ManifestSchema, create(ManifestSchema, { ...message, pieceBytes, pieces })))
}

/** A model in the store, without a disk. */
export class MemoryModel implements StoredModel {
  readonly manifest: Manifest
  readonly bytes: (Uint8Array | undefined)[]
  /** What `write` throws, for a while. */
  failure: Error | undefined
  readonly #pieces: PieceTable
  readonly #listeners = new Set<(index: number) => void>()

  constructor({ manifest, pieces, content }: TestModel, has: (index: number) => boolean = () => false) {
    this.manifest = manifest
    this.#pieces = pieces
    this.bytes = content.map((bytes, index) => (has(index) ? bytes : undefined))
  }

  has(index: number): boolean {
    return this.bytes[index] !== undefined
  }

  get bitfield(): Uint8Array {
    const bits = new Uint8Array(Math.ceil(this.bytes.length / 8))
    for (const [index, bytes] of this.bytes.entries()) {
      if (bytes !== undefined) bits[index >> 3] = (bits[index >> 3] as number) | (0x80 >> (index & 7))
    }
    return bits
  }

  missing(parts: ReadonlySet<PartName>): number[] {
    return this.#pieces.of(itemsOf(this.manifest, parts)).filter((index) => !this.has(index))
  }

  async read(index: number): Promise<Uint8Array> {
    const bytes = this.bytes[index]
    if (bytes === undefined) throw new ShoalError('PIECE', `piece ${index} is not there`)
    return bytes
  }

  async write({ index, bytes }: PieceReceived): Promise<void> {
    if (this.failure !== undefined) throw this.failure
    if (!this.#pieces.isIntact(index, bytes)) throw new ShoalError('PIECE', `piece ${index} is not intact`)
    if (this.has(index)) return
    this.bytes[index] = bytes
    for (const listener of this.#listeners) listener(index)
  }

  onPiece(listener: (index: number) => void): () => void {
    this.#listeners.add(listener)
    return () => this.#listeners.delete(listener)
  }
}

export interface ExchangeNode {
  readonly host: Host
  readonly exchange: Exchange
}

/** A host on loopback that exchanges pieces and nothing else. */
export async function exchangeNode(
  models: ExchangeComponents['models'],
  { seed = 1, listing, ...init }: SeederInit & { seed?: number; listing?: Uint8Array } = {}
): Promise<ExchangeNode> {
  const host = createHost({ identity: { ephemeral: true }, listen: ['/ip4/127.0.0.1/tcp/0'] })
  const components = {
    host,
    clock: systemClock,
    random: randomOf(seed),
    models,
    listing: async () => listing
  }
  const exchange = new Exchange(components, init)
  host.serve({
    info: () => ({ version: '0', stages: [], addresses: [], peers: [] }),
    control: (stream) => stream.abort(new Error('no stage here')),
    data: () => undefined,
    pieces: (stream) => exchange.serve(stream)
  })
  await host.start()
  return { host, exchange }
}
