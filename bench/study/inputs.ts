/** What the study's arithmetic goes by: models as they are, machines and links as they are taken to be. */
import { type CatalogueSize, catalogue } from '../../src/models/index.ts'
import type { HostableModel } from '../../src/swarm/index.ts'
import { PROFILES } from '../../test/wan/profiles.ts'

/** As the models' own config.json have it; test/study.test.ts counts their parameters and compares the catalogue's. */
export interface Shape {
  /** In the catalogue. */
  readonly name: string
  readonly width: number
  readonly heads: number
  readonly kvHeads: number
  readonly headSize: number
  /** Of the feed-forward part, or of each expert. */
  readonly feedForward: number
  readonly experts?: { readonly count: number; readonly used: number }
  readonly vocabulary: number
  readonly tied: boolean
}

const LLAMA = { headSize: 128, kvHeads: 8, vocabulary: 128_256, tied: false }
const QWEN = { headSize: 128, kvHeads: 8, vocabulary: 151_936, tied: false, width: 5_120 }

const SHAPES: readonly Shape[] = [
  {
    ...{ ...LLAMA, name: 'llama3.2:1b', width: 2_048, heads: 32, headSize: 64 },
    ...{ feedForward: 8_192, tied: true }
  },
  { ...LLAMA, name: 'llama3.1:8b', width: 4_096, heads: 32, feedForward: 14_336 },
  { ...QWEN, name: 'qwen3:14b', heads: 40, feedForward: 17_408 },
  {
    ...{ name: 'mistral-small:24b', width: 5_120, heads: 32, kvHeads: 8, headSize: 128 },
    ...{ feedForward: 32_768, vocabulary: 131_072, tied: false }
  },
  {
    ...{ name: 'gemma3:27b', width: 5_376, heads: 32, kvHeads: 16, headSize: 128 },
    ...{ feedForward: 21_504, vocabulary: 262_208, tied: true }
  },
  {
    ...{ ...QWEN, name: 'qwen3:30b-a3b', width: 2_048, heads: 32, kvHeads: 4 },
    ...{ feedForward: 768, experts: { count: 128, used: 8 } }
  },
  { ...QWEN, name: 'qwen3:32b', heads: 64, feedForward: 25_600 },
  { ...LLAMA, name: 'llama3.3:70b', width: 8_192, heads: 64, feedForward: 28_672 }
]

/** A model as it is hosted. All sizes are in bytes. */
export interface StudiedModel extends Shape, Pick<HostableModel, 'blockCount' | 'blockBytes'> {
  readonly listed: CatalogueSize
  readonly quant: string
  readonly fileBytes: number
  readonly embeddingBytes: number
  readonly headBytes: number
  /** KV cache of one position in all blocks, f16. */
  readonly positionBytes: number
  /** Weights that one row reads. */
  readonly readBytes: number
}

/** Bits per weight of Q4_K and Q6_K, in which Q4_K_M stores the embedding and the head (a tied one as a head). */
const EMBEDDING_BITS = 4.5
const HEAD_BITS = 6.5625

/** With the catalogue's default quantization. */
export const MODELS: readonly StudiedModel[] = SHAPES.map((shape) => {
  const { name, width, vocabulary, tied } = shape
  const listed = sizeNamed(name)
  const [quant, fileBytes] = Object.entries(listed.quants)[0] as [string, number]
  const headBytes = (width * vocabulary * HEAD_BITS) / 8
  const embeddingBytes = tied ? headBytes : (width * vocabulary * EMBEDDING_BITS) / 8
  const blocksBytes = fileBytes - embeddingBytes - (tied ? 0 : headBytes)
  const { attention, feedForward, used } = blockParameters(shape)
  return {
    ...{ ...shape, listed, quant, fileBytes, embeddingBytes, headBytes },
    blockCount: listed.blocks,
    blockBytes: Array.from({ length: listed.blocks }, () => blocksBytes / listed.blocks),
    positionBytes: listed.positionBytes,
    readBytes: (blocksBytes * (attention + used)) / (attention + feedForward) + headBytes
  }
})

export function modelNamed(name: string): StudiedModel {
  const model = MODELS.find((each) => each.name === name)
  if (model === undefined) throw new Error(`the study has no ${name}`)
  return model
}

/** Throws where the catalogue has none of that name. */
export function sizeNamed(name: string): CatalogueSize {
  const [model = '', size = ''] = name.split(':')
  const found = catalogue().models[model]?.sizes[size]
  if (found === undefined) throw new Error(`the catalogue has no ${name}`)
  return found
}

/** Of one block; `used` is what one row goes through of the feed-forward part. */
export function blockParameters({ width, heads, kvHeads, headSize, feedForward, experts }: Shape): {
  readonly attention: number
  readonly feedForward: number
  readonly used: number
} {
  const attention = 2 * width * heads * headSize + 2 * width * kvHeads * headSize
  const expert = 3 * width * feedForward
  const router = experts === undefined ? 0 : width * experts.count
  const { count, used } = experts ?? { count: 1, used: 1 }
  return { attention, feedForward: expert * count + router, used: expert * used + router }
}

/** Machines as in the simulation (bench/sim/machines.ts). */
export interface StudiedMachine {
  readonly name: string
  /** Given to Shoal. */
  readonly memoryBytes: number
  /** Weights read while decoding, per millisecond. */
  readonly bytesPerMs: number
  /** What a row of a prompt takes, as part of what a decoded one takes. */
  readonly prefillShare: number
}

export const MACHINES = {
  laptop: { name: 'laptop', memoryBytes: 2.5e9, bytesPerMs: 20e6, prefillShare: 0.25 },
  small: { name: 'small desktop', memoryBytes: 6e9, bytesPerMs: 35e6, prefillShare: 0.2 },
  desktop: { name: 'desktop', memoryBytes: 13e9, bytesPerMs: 60e6, prefillShare: 0.15 },
  card: { name: 'graphics card', memoryBytes: 21e9, bytesPerMs: 500e6, prefillShare: 0.03 },
  cards: { name: 'pair of cards', memoryBytes: 43e9, bytesPerMs: 450e6, prefillShare: 0.04 }
} as const satisfies Record<string, StudiedMachine>

export type MachineName = keyof typeof MACHINES

export interface Link {
  readonly name: string
  readonly rttMs: number
  readonly bitsPerSecond: number
}

/** As emulated; docs/WAN.md. */
export const LINKS: readonly Link[] = (['lan', 'city', 'country', 'world', 'bad'] as const).map((name) => ({
  ...{ name, ...PROFILES[name] }
}))

/** Positions whose cache each node keeps room for, and of the conversation whose tokens are timed. */
export const POSITIONS = 4_096
export const CONVERSATION = 2_048
/** What a hop takes beside link and computing, in milliseconds: 0.9 to 2.9 were measured (`bench -- hop`, R3). */
export const HOP_MS = 2
