import type { ImportanceMatrix } from './importance.ts'

/**
 * The format before GGUF (`imatrix.dat`), little-endian: a count of entries; each a length and a name, calls, a
 * count and as many floats, which are mean squares times calls; then, in newer files, chunks, and a length and the
 * text's name. Throws a RangeError where it breaks off.
 */
export function readLegacyImportance(bytes: Uint8Array): ImportanceMatrix {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  let offset = 0
  const take = (length: number): number => {
    if (length < 0 || length > bytes.length - offset) throw new RangeError(`it ends early, at byte ${offset}`)
    offset += length
    return offset - length
  }
  const integer = (): number => view.getInt32(take(4), true)
  const text = (): string => {
    const length = integer()
    return new TextDecoder().decode(bytes.subarray(take(length), offset))
  }
  const entries = Array.from({ length: countOf(integer(), bytes.length) }, () => {
    const name = text()
    const calls = integer()
    const start = take(4 * integer())
    const sums = new Float32Array(new Uint8Array(bytes.subarray(start, offset)).buffer)
    return { name, sums, counts: Float32Array.of(Math.max(calls, 1)) }
  })
  const chunks = offset < bytes.length ? integer() : 0
  const datasets = offset < bytes.length ? [text()] : []
  return { datasets, chunks, chunkLength: 0, entries }
}

/** An entry has 13 bytes at least. */
function countOf(entries: number, bytes: number): number {
  if (entries >= 1 && entries <= bytes / 13) return entries
  throw new RangeError('it is neither a GGUF nor an imatrix.dat')
}
