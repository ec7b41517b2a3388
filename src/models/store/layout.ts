/** Where a model's content lies on disk, which follows from its manifest alone. */
import { splitHeaderBytes } from '../../gguf/index.ts'
import type { ContentItem, PartName } from '../content.ts'
import { type Manifest, pieceTableOf } from '../manifest.ts'
import type { Piece, PieceTable } from '../pieces.ts'

/** What disks and file systems deal in. */
const PAGE_BYTES = 4096
/** A tensor's name may be longer in a span: some call `output.weight` `token_embd.weight` there. */
const SPARE_BYTES = 64

export interface PartLayout {
  readonly name: PartName
  /** Its name in the model's folder. */
  readonly file: string
  readonly items: readonly ContentItem[]
  /** Before its items. The same for all blocks of a model. */
  readonly headerBytes: number
  /** Of the file. */
  readonly byteLength: number
  /** Its pieces are `[firstPiece, firstPiece + pieceCount)`. */
  readonly firstPiece: number
  readonly pieceCount: number
}

export class Layout {
  readonly table: PieceTable
  /** In the content's order. */
  readonly parts: ReadonlyMap<PartName, PartLayout>

  constructor(manifest: Manifest) {
    this.table = pieceTableOf(manifest)
    const groups = [...Map.groupBy(manifest.items, ({ part }) => part)]
    const headers = new Map(groups.map(([name, items]) => [name, headerBytesOf(manifest, items)]))
    const ofBlocks = [...headers].reduce(
      (most, [name, bytes]) => (isBlock(name) ? Math.max(most, bytes) : most),
      0
    )
    let firstPiece = 0
    this.parts = new Map(
      groups.map(([name, items]) => {
        const headerBytes = isBlock(name) ? ofBlocks : (headers.get(name) as number)
        const [first, last] = [items[0], items.at(-1)] as [ContentItem, ContentItem]
        const byteLength = headerBytes + last.offset + last.byteLength - first.offset
        const pieceCount = items.reduce((sum, item) => sum + this.table.countOf(item), 0)
        firstPiece += pieceCount
        const pieces = { firstPiece: firstPiece - pieceCount, pieceCount }
        return [name, { name, file: fileOf(name), items, headerBytes, byteLength, ...pieces }]
      })
    )
  }

  /** The piece, the part that it belongs to, and where it begins in that part's file. */
  at(index: number): Piece & { readonly part: PartLayout; readonly position: number } {
    const piece = this.table.at(index)
    const part = this.parts.get(piece.item.part) as PartLayout
    return { ...piece, part, position: positionOf(part, piece.item) + piece.offset }
  }
}

/** Where an item begins in its part's file. */
export function positionOf({ headerBytes, items }: PartLayout, item: ContentItem): number {
  return headerBytes + item.offset - (items[0] as ContentItem).offset
}

export function fileOf(part: string): string {
  return part === 'tokenizer' ? part : `${part}.gguf`
}

/** Undefined for a file that is no part. */
export function partOfFile(file: string): string | undefined {
  return /^(?:(tokenizer)|(globals|embedding|head|block-\d{1,5})\.gguf)$/.exec(file)?.slice(1).join('')
}

function isBlock(name: PartName): boolean {
  return name.startsWith('block-')
}

function headerBytesOf({ metadata }: Manifest, items: readonly ContentItem[]): number {
  const tensors = items.flatMap(({ name, tensor }) =>
    tensor === undefined ? [] : [{ name, ...tensor, data: () => [] }]
  )
  if (tensors.length === 0) return 0
  const alignment = metadata.get('general.alignment')?.value
  const step = Math.max(PAGE_BYTES, typeof alignment === 'number' ? alignment : 0)
  return Math.ceil((splitHeaderBytes(metadata, tensors) + SPARE_BYTES) / step) * step
}
