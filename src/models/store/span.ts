/** A span of a stored model, for the engine: the headers of its parts are made to say that they are one model. */
import { open, rename, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { ShoalError } from '../../common/index.ts'
import { type GgufPlan, sliceGguf, splitGguf, TENSOR_TYPES, writeGguf } from '../../gguf/index.ts'
import type { PartName } from '../content.ts'
import { modelOf } from '../manifest.ts'
import type { SpanFiles } from '../span-files.ts'
import { storeError } from './errors.ts'
import { type PartLayout, positionOf } from './layout.ts'
import { takeLock } from './locks.ts'
import type { Lease } from './space.ts'
import type { ModelOnDisk } from './stored-model.ts'

/** Split 0 of the span that was loaded last: metadata, dummies, and what all blocks share. */
const FIRST_FILE = 'span.gguf'

export interface BlockRange {
  readonly start: number
  readonly end: number
}

export interface SpanComponents {
  readonly model: ModelOnDisk
  /** Of the parts; the span's own from now on. */
  readonly lease: Lease
  /** For a file that is not whole yet. */
  readonly temporaryName: () => string
}

export interface SpanInit {
  readonly range: BlockRange
  readonly parts: ReadonlySet<PartName>
  /** The lock of the model's headers. */
  readonly lock: string
  readonly allowUncertified: boolean
}

interface Split {
  readonly plan: GgufPlan
  /** Absent for split 0. */
  readonly part?: PartLayout
}

/** The parts of a span, kept until it is released. */
export class StoredSpan {
  /** What `load` gives to the engine. Only while it runs do their headers say that they are this span. */
  readonly files: SpanFiles
  readonly #components: SpanComponents
  readonly #init: SpanInit
  readonly #splits: readonly Split[]
  #isReleased = false

  private constructor(components: SpanComponents, init: SpanInit, splits: readonly Split[]) {
    this.#components = components
    this.#init = init
    this.#splits = splits
    const embedding = embeddingOf(components.model, init)
    this.files = {
      files: splits.map(({ part }) => (part === undefined ? this.#firstPath : components.model.path(part))),
      ...(embedding === undefined ? {} : { embedding: embedding.table }),
      bytes: splits.reduce((sum, { plan }) => sum + plan.byteLength, embedding?.bytes ?? 0)
    }
  }

  /** Throws an UnsupportedModelError where the span would not compute the same as in the whole model. */
  static async plan(components: SpanComponents, init: SpanInit): Promise<StoredSpan> {
    return new StoredSpan(components, init, await planSplits(components.model, init))
  }

  /**
   * Has `use` open the files; nobody else loads blocks of this model until it has. Again for an engine that is
   * started again: the headers may say something else by then.
   */
  async load<T>(use: (files: SpanFiles) => Promise<T>, signal?: AbortSignal): Promise<T> {
    const { model } = this.#components
    if (this.#isReleased)
      throw new ShoalError('RELEASED', 'The span was let go of: ask the store for it again.')
    checkComplete(model, this.#init.parts)
    const lock = await takeLock(this.#init.lock, signal)
    try {
      await this.#write(signal).catch((error) => {
        throw storeError(error, model.folder)
      })
      return await use(this.files)
    } finally {
      lock.release()
    }
  }

  release(): void {
    this.#isReleased = true
    this.#components.lease.release()
  }

  get #firstPath(): string {
    return join(this.#components.model.folder, FIRST_FILE)
  }

  async #write(signal?: AbortSignal): Promise<void> {
    const { model } = this.#components
    for (const { part, plan } of this.#splits) {
      if (part === undefined) await this.#writeFirst(plan, signal)
      else await writeHeader(model.path(part), plan.header)
    }
  }

  /** Under another name until it is whole: other engines may have the one before open. */
  async #writeFirst(plan: GgufPlan, signal?: AbortSignal): Promise<void> {
    const temporary = join(this.#components.model.folder, this.#components.temporaryName())
    const file = await open(temporary, 'w')
    try {
      await writeGguf(
        { write: (bytes) => file.writeFile(bytes) },
        plan,
        signal === undefined ? {} : { signal }
      )
      await file.close()
      await rename(temporary, this.#firstPath)
    } catch (error) {
      await file.close()
      await rm(temporary, { force: true })
      throw error
    }
  }
}

export function checkComplete(model: ModelOnDisk, parts: ReadonlySet<PartName>): void {
  const missing = model.missing(parts)
  if (missing.length === 0) return
  const names = new Set(missing.map((index) => model.layout.at(index).part.name))
  const message = `${missing.length} pieces of ${[...names].slice(0, 8).join(', ')} are not there yet`
  throw new ShoalError('INCOMPLETE', `${message}: fetch them first.`)
}

/** One plan for the whole span, its tensors then told apart by where they are in the model's content. */
async function planSplits(model: ModelOnDisk, init: SpanInit): Promise<Split[]> {
  const { manifest, layout } = model
  const { items, id, blockCount } = manifest
  const { start, end } = init.range
  const head = end === blockCount
  const tokenizerBytes = items[0]?.byteLength ?? 0
  const tokenizer = init.parts.has('tokenizer') ? await model.readContent(0, tokenizerBytes) : undefined
  const gguf = await modelOf(manifest, model.readContent.bind(model), tokenizer)
  const span = { start, end, embedding: head && start === 0, head }
  const plan = sliceGguf(gguf, span, { modelId: id, allowUncertified: init.allowUncertified })
  const partsByOffset = new Map(items.map(({ offset, part }) => [offset, part]))
  const groups = Map.groupBy(plan.tensors, ({ data }) =>
    'source' in data ? (partsByOffset.get(data.offset) ?? 'globals') : 'globals'
  )
  groups.delete('globals') // in split 0, beside dummies
  const parts = [...groups].map(([name, tensors]) => ({
    part: layout.parts.get(name) as PartLayout,
    tensors
  }))
  const plans = splitGguf(
    plan,
    parts.map(({ part, tensors }) => ({ tensors, headerBytes: part.headerBytes }))
  )
  const splits = plans.map((split, index) => ({
    plan: split,
    ...(index > 0 && { part: parts[index - 1]?.part })
  }))
  if (!splits.every(isInPlace) || parts.some(({ part }) => !init.parts.has(part.name))) {
    throw new ShoalError('MANIFEST', 'The model’s tensors have names that can’t be cut into blocks.')
  }
  return splits as Split[]
}

/** All tensors of a part, each where it is: the names of a hostile manifest may say something else. */
function isInPlace({ plan, part }: { plan: GgufPlan; part?: PartLayout | undefined }): boolean {
  if (part === undefined) return true
  return (
    plan.tensors.length === part.items.length &&
    part.items.every((item, index) => plan.tensors[index]?.offset === positionOf(part, item))
  )
}

/** Where the engine looks up the rows of a span that starts at block 0, but is not the whole model. */
function embeddingOf(
  model: ModelOnDisk,
  { range }: SpanInit
): { table: NonNullable<SpanFiles['embedding']>; bytes: number } | undefined {
  const { layout, manifest } = model
  const part = layout.parts.get('embedding')
  const item = part?.items[0]
  if (range.start > 0 || range.end === manifest.blockCount || !part || !item?.tensor) return undefined
  const { dims, type } = item.tensor
  const vocabulary = dims[1] as number
  const table = {
    file: model.path(part),
    offset: positionOf(part, item),
    type: TENSOR_TYPES[type]?.id as number,
    rowBytes: item.byteLength / vocabulary,
    vocabulary
  }
  return { table, bytes: part.byteLength }
}

/** Only where it is not the same already. The tensors behind it stay as they are. */
async function writeHeader(path: string, header: Uint8Array): Promise<void> {
  const file = await open(path, 'r+')
  try {
    const { buffer, bytesRead } = await file.read(new Uint8Array(header.byteLength), 0, header.byteLength, 0)
    if (bytesRead === header.byteLength && Buffer.compare(buffer, header) === 0) return
    for (let done = 0; done < header.byteLength; ) {
      done += (await file.write(header, done, header.byteLength - done, done)).bytesWritten
    }
  } finally {
    await file.close()
  }
}
