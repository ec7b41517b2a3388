/** People's machines, and the models that they have. */
import { createHash } from 'node:crypto'
import type { ShelvedModel } from '../../src/node/shelf.ts'
import { gaussian, type Random } from '../../test/models/random.ts'

export interface Machine {
  /** For weights and KV cache. */
  readonly memoryBytes: number
  /** How fast weights are read for a row, which is what decoding takes. */
  readonly bytesPerMs: number
  /** Of a prompt's rows, each takes such a part of it. */
  readonly prefillShare: number
}

interface Kind extends Machine {
  readonly share: number
}

const GB = 1e9
const MB = 1e6

/**
 * A node gives half of what is free when it starts. The shares are a guess: of Steam's hardware survey (2025), with
 * fewer small laptops and more of those who have bought a machine for this.
 */
const KINDS: readonly Kind[] = [
  { share: 0.3, memoryBytes: 2.5 * GB, bytesPerMs: 20 * MB, prefillShare: 0.25 }, // laptop, 8 GB
  { share: 0.33, memoryBytes: 6 * GB, bytesPerMs: 35 * MB, prefillShare: 0.2 }, // laptop or desktop, 16 GB
  { share: 0.17, memoryBytes: 13 * GB, bytesPerMs: 60 * MB, prefillShare: 0.15 }, // desktop, 32 GB
  { share: 0.14, memoryBytes: 21 * GB, bytesPerMs: 500 * MB, prefillShare: 0.03 }, // graphics card, 24 GB
  { share: 0.06, memoryBytes: 43 * GB, bytesPerMs: 450 * MB, prefillShare: 0.04 } // two of them, or a large Mac
]

export function machineOf(random: Random): Machine {
  let left = random()
  const kind =
    KINDS.find(({ share }) => {
      left -= share
      return left < 0
    }) ?? (KINDS[0] as Kind)
  const spread = (): number => Math.exp(0.15 * gaussian(random))
  return {
    memoryBytes: Math.round(kind.memoryBytes * spread()),
    bytesPerMs: kind.bytesPerMs * spread(),
    prefillShare: kind.prefillShare
  }
}

/** Billions of parameters, blocks, width, KV heads times their width: shapes of open models. */
const SHAPES = [
  [0.6, 8, 1024, 512],
  [1.1, 22, 2048, 256],
  [1.5, 28, 1536, 256],
  [1.7, 28, 2048, 1024],
  [3.2, 28, 3072, 1024],
  [3.8, 32, 3072, 1024],
  [4, 36, 2560, 1024],
  [7.2, 32, 4096, 1024],
  [8, 32, 4096, 1024],
  [8.2, 36, 4096, 1024],
  [9, 42, 3584, 2048],
  [12, 40, 5120, 1024],
  [12.2, 48, 3840, 2048],
  [14.8, 40, 5120, 1024],
  [24, 40, 5120, 1024],
  [27, 62, 5376, 2048],
  [32, 64, 5120, 1024],
  [32.8, 64, 5120, 1024],
  [70.6, 80, 8192, 1024],
  [72.7, 80, 8192, 1024],
  [104, 64, 12288, 1024],
  [123, 88, 12288, 1024],
  [141, 96, 6144, 1024]
] as const

/** Of weights quantized to four to five bits, and of the embedding and the head. */
const BYTES_PER_PARAMETER = 0.58
const VOCABULARY = 128_000
/** `shoal up` without flags. */
export const CONTEXT = 4_096
export const SESSIONS = 8

const PROFILE = { kvTypeK: 'f16', kvTypeV: 'f16', flashAttention: true, codec: 'f32', longContext: false }

/** In order of how much they are asked for; sizes have nothing to do with that. */
export function modelsOf(count: number, random: Random): ShelvedModel[] {
  const shuffled = Array.from({ length: count }, (_, index) => ({ index, key: random() }))
    .sort((a, b) => a.key - b.key)
    .map(({ index }) => index)
  return shuffled.map((index, rank) => modelOf(index, rank))
}

function modelOf(index: number, rank: number): ShelvedModel {
  const [billions, blockCount, width, kvWidth] = SHAPES[index % SHAPES.length] as (typeof SHAPES)[number]
  const model = createHash('sha256').update(`model ${index}`).digest('hex')
  const name = `${billions}B number ${rank + 1}`
  const edgeBytes = Math.round(VOCABULARY * width * BYTES_PER_PARAMETER)
  const blockBytes = Math.round(
    Math.max(0.5 * billions * 1e9, billions * 1e9 - 2 * VOCABULARY * width) *
      (BYTES_PER_PARAMETER / blockCount)
  )
  const each = (bytes: number): number[] => Array.from({ length: blockCount }, () => bytes)
  return {
    ...{ called: model, width },
    hostable: {
      ...{ model, name, architecture: 'llama', blockCount, profile: PROFILE },
      ...{ blockBytes: each(blockBytes), positionBytes: each(2 * 2 * kvWidth) },
      ...{ embeddingBytes: edgeBytes, headBytes: edgeBytes, positions: CONTEXT, computeBytes: 0 }
    }
  }
}

/** Which of `count` models the next request is for: Zipf's law. */
export class Popularity {
  readonly #sums: number[] = []

  constructor(count: number) {
    let sum = 0
    for (let rank = 1; rank <= count; rank++) {
      sum += 1 / rank
      this.#sums.push(sum)
    }
  }

  draw(random: Random): number {
    const at = random() * (this.#sums.at(-1) as number)
    return this.#sums.findIndex((sum) => at < sum)
  }

  /** Of all requests. */
  shareOf(rank: number): number {
    return 1 / (rank + 1) / (this.#sums.at(-1) as number)
  }
}
