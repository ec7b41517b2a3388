/** The content of a model in its one order: the tokenizer, what all spans share, the edges, then block after block. */
import { HEAD_TENSORS, parseHeader } from '../gguf/index.ts'

/** What is fetched, kept and dropped together, in a file of its own. */
export type PartName = 'tokenizer' | 'globals' | 'embedding' | 'head' | `block-${number}`

export interface ContentItem {
  /** A tensor's name, or TOKENIZER. */
  readonly name: string
  readonly part: PartName
  /** From the content's start, in bytes. */
  readonly offset: number
  readonly byteLength: number
  readonly tensor?: { readonly dims: readonly number[]; readonly type: string }
}

/** No tensor has such a name: it has a space. */
export const TOKENIZER = 'the tokenizer'
const EMBEDDING = 'token_embd.weight'
const OUTPUT = 'output.weight'
const BLOCK = /^blk\.(0|[1-9]\d{0,4})\./

export function partOf(tensor: string): Exclude<PartName, 'tokenizer'> {
  const block = BLOCK.exec(tensor)?.[1]
  if (block !== undefined) return `block-${Number(block)}`
  if (tensor === EMBEDDING) return 'embedding'
  return tensor === OUTPUT || Object.hasOwn(HEAD_TENSORS, tensor) ? 'head' : 'globals'
}

/** By a header whose tensors are in the content's order. */
export function contentOf(
  header: Uint8Array,
  tokenizerBytes: number
): { items: ContentItem[]; byteLength: number } {
  const { tensors, alignment } = parseHeader(header, Number.MAX_SAFE_INTEGER)
  const aligned = (length: number): number => Math.ceil(length / alignment) * alignment
  const items: ContentItem[] = [{ name: TOKENIZER, part: 'tokenizer', offset: 0, byteLength: tokenizerBytes }]
  let byteLength = aligned(tokenizerBytes)
  for (const { name, dims, type, byteLength: length } of tensors) {
    items.push({ name, part: partOf(name), offset: byteLength, byteLength: length, tensor: { dims, type } })
    byteLength += aligned(length)
  }
  if (!Number.isSafeInteger(byteLength) || tokenizerBytes < 0) throw new Error('its tensors are too large')
  return { items, byteLength }
}

/** What a span needs: the head needs the vocabulary, and where it is tied to the embedding, that too. */
export function partsOf(
  items: readonly ContentItem[],
  span: { readonly start: number; readonly end: number },
  blockCount: number
): Set<PartName> {
  const { start, end } = span
  const parts = new Set<PartName>(['globals'])
  for (let block = start; block < end; block++) parts.add(`block-${block}`)
  if (start === 0) parts.add('embedding')
  if (end < blockCount) return parts
  parts.add('head').add('tokenizer')
  return items.some(({ name }) => name === OUTPUT) ? parts : parts.add('embedding')
}
