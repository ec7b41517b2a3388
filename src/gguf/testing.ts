// What the tests of this folder share: small models in memory, and a source that watches its reader.
import { type GgufPlan, planGguf, type TensorToWrite } from './plan.ts'
import { tensorByteLength } from './tensor-types.ts'
import type { ByteSource, Metadata } from './types.ts'
import { writeGguf } from './write.ts'

/** The file that a plan makes. */
export async function bytesOf(plan: GgufPlan): Promise<Uint8Array> {
  const file = new Uint8Array(plan.byteLength)
  let length = 0
  await writeGguf(
    {
      async write(bytes) {
        file.set(bytes, length)
        length += bytes.byteLength
      }
    },
    plan
  )
  if (length !== plan.byteLength) throw new Error(`${length} bytes written instead of ${plan.byteLength}`)
  return file
}

export interface WatchedSource extends ByteSource {
  /** Bytes that were asked for, all reads together. */
  readonly bytesRead: number
  readonly reads: number
}

/** Throws an error that no reader expects when it is asked for more than there is. */
export function watchedSource(bytes: Uint8Array): WatchedSource {
  const watched = {
    size: bytes.byteLength,
    bytesRead: 0,
    reads: 0,
    async read(offset: number, length: number) {
      if (!(offset >= 0 && length >= 0 && offset + length <= bytes.byteLength)) {
        throw new Error(`read of ${length} bytes from ${offset}, of ${bytes.byteLength}`)
      }
      watched.bytesRead += length
      watched.reads += 1
      return bytes.subarray(offset, offset + length)
    },
    async close() {}
  }
  return watched
}

export interface TinyModel {
  readonly architecture?: string
  readonly blocks?: number
  readonly width?: number
  readonly rows?: number
  /** No `output.weight`. */
  readonly tied?: boolean
  /** Further tensors outside of blocks, F32, by their dimensions. */
  readonly extra?: Readonly<Record<string, readonly number[]>>
}

/** A model in all but meaning: every tensor's bytes differ from every other's. */
export function tinyModel(init: TinyModel = {}): GgufPlan {
  const { architecture = 'llama', blocks = 3, width = 64, rows = 40, tied = false, extra = {} } = init
  const metadata: Metadata = new Map([
    ['general.architecture', { type: 'string', value: architecture }],
    [`${architecture}.block_count`, { type: 'u32', value: blocks }],
    [`${architecture}.embedding_length`, { type: 'u32', value: width }],
    [`${architecture}.attention.head_count`, { type: 'u32', value: 4 }],
    ['tokenizer.ggml.model', { type: 'string', value: 'llama' }],
    ['tokenizer.ggml.tokens', { type: 'array', itemType: 'string', value: Array(rows).fill('a') }]
  ])
  const tensors: TensorToWrite[] = []
  const add = (name: string, type: string, ...dims: number[]) => {
    const data = new Uint8Array(tensorByteLength(type, dims))
    for (let index = 0; index < data.length; index++)
      data[index] = (index * 7 + tensors.length * 31 + 1) % 256
    tensors.push({ name, type, dims, data })
  }
  add('token_embd.weight', 'Q8_0', width, rows)
  for (const [name, dims] of Object.entries(extra)) add(name, 'F32', ...dims)
  for (let block = 0; block < blocks; block++) {
    add(`blk.${block}.attn_norm.weight`, 'F32', width)
    add(`blk.${block}.attn_q.weight`, 'Q4_0', width, width)
  }
  add('output_norm.weight', 'F32', width)
  if (!tied) add('output.weight', 'Q8_0', width, rows)
  return planGguf({ metadata, tensors })
}
