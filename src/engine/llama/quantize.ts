/** Calls llama.cpp's quantizer. It says how far it is, and what it did otherwise than asked, in its log only. */
import { writeSync } from 'node:fs'
import koffi from 'koffi'
import type { QuantizeSettings } from '../adaptation.ts'
import { EngineError } from '../errors.ts'
import type { Llama, Pointer } from './library.ts'
import { allocate } from './memory.ts'
import { ImatrixData, KV_OVERRIDE, LogCallback } from './structs.ts'

const STDERR = 2
const PROGRESS = /^\[ *(\d+)\/ *(\d+)\]/
const FALLBACK = /^warning: (\S+) .*required for type +(\S+?)\).*-> falling back to +(\S+)/
const UNWEIGHTED = /did not find weights for (\S+)/
const FAILURE = /failed to quantize: (.*)/

/** The names of tensors, and their weights one after the other. */
export interface ImatrixHead {
  readonly entries: readonly { readonly name: string; readonly length: number }[]
  /** Written into the model's metadata. */
  readonly notes: readonly (readonly [key: string, value: string | number])[]
}

export interface QuantizeReport {
  /** Tensors whose rows have no whole blocks of the type that they were to have. */
  readonly fallbacks: readonly { readonly tensor: string; readonly wanted: string; readonly got: string }[]
  /** Quantized tensors that the importance matrix says nothing about. */
  readonly unweighted: readonly string[]
}

export function quantizeFile(
  llama: Llama,
  settings: QuantizeSettings & { readonly imatrix?: ImatrixHead },
  weights: Float32Array,
  onProgress: (fraction: number) => void
): QuantizeReport {
  const fallbacks: { tensor: string; wanted: string; got: string }[] = []
  const unweighted: string[] = []
  let failure = 'see its log above'
  let line = ''
  const onLog = (_level: number, text: string): void => {
    writeSync(STDERR, text) // explains the end of this process, should it come
    const [, done, total] = PROGRESS.exec(text) ?? []
    if (done !== undefined) onProgress((Number(done) - 1) / Number(total))
    line += text
    if (!line.endsWith('\n')) return
    const [, tensor, wanted, got] = FALLBACK.exec(line) ?? []
    if (tensor !== undefined) fallbacks.push({ tensor, wanted: name(wanted), got: name(got) })
    const missing = UNWEIGHTED.exec(line)?.[1]
    if (missing !== undefined) unweighted.push(missing)
    failure = FAILURE.exec(line)?.[1]?.trim() ?? failure
    line = ''
  }
  llama.llama_log_set(koffi.register(onLog, koffi.pointer(LogCallback)), null)
  const { input, output, imatrix, type, outputTensorType, embeddingType, ...flags } = settings
  const defaults = llama.llama_model_quantize_default_params() as Record<string, unknown>
  const status = llama.llama_model_quantize(input, output, {
    ...defaults,
    nthread: flags.threads,
    ftype: type,
    output_tensor_type: outputTensorType ?? defaults.output_tensor_type,
    token_embedding_type: embeddingType ?? defaults.token_embedding_type,
    allow_requantize: flags.requantize,
    only_copy: flags.copy,
    pure: flags.pure,
    keep_split: flags.keepSplit,
    imatrix: imatrix === undefined ? null : imatrixArray(imatrix, weights),
    kv_overrides: imatrix === undefined ? null : overrides(imatrix.notes)
  }) as number
  if (status !== 0) throw new EngineError('COMPUTE', failure)
  return { fallbacks, unweighted }
}

/** A type as GGUFs' readers call it. */
function name(type = ''): string {
  return type.toUpperCase()
}

function imatrixArray({ entries }: ImatrixHead, weights: Float32Array): Pointer {
  const size = koffi.sizeof(ImatrixData)
  const data = allocate(weights.byteLength)
  new Float32Array(data.memory).set(weights)
  const array = allocate((entries.length + 1) * size)
  let offset = 0
  for (const [index, { name, length }] of entries.entries()) {
    const entry = { name: text(name), data: data.pointer + BigInt(offset * 4), size: length }
    koffi.encode(array.pointer + BigInt(index * size), ImatrixData, entry)
    offset += length
  }
  koffi.encode(array.pointer + BigInt(entries.length * size), ImatrixData, {
    name: null,
    data: null,
    size: 0
  })
  return array.pointer
}

/** A C string. */
function text(value: string): Pointer {
  const bytes = new TextEncoder().encode(value)
  const { pointer, memory } = allocate(bytes.length + 1)
  new Uint8Array(memory).fill(0).set(bytes)
  return pointer
}

function overrides(notes: ImatrixHead['notes']): Pointer {
  const { pointer, memory } = allocate((notes.length + 1) * KV_OVERRIDE.bytes)
  const bytes = new Uint8Array(memory).fill(0)
  const view = new DataView(memory)
  for (const [index, [key, value]] of notes.entries()) {
    const start = index * KV_OVERRIDE.bytes
    const isText = typeof value === 'string'
    view.setInt32(start, isText ? KV_OVERRIDE.text : KV_OVERRIDE.integer, true)
    bytes.set(new TextEncoder().encode(key), start + KV_OVERRIDE.key)
    const place = bytes.subarray(
      start + KV_OVERRIDE.value,
      start + KV_OVERRIDE.value + KV_OVERRIDE.textBytes - 1
    )
    if (isText) new TextEncoder().encodeInto(value, place)
    else view.setBigInt64(start + KV_OVERRIDE.value, BigInt(value), true)
  }
  return pointer
}
