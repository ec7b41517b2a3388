/** A span of blocks loaded into llama.cpp: model, context, KV cache. Everything here is synchronous. */
import koffi from 'koffi'
import type { BatchResult, EngineDescription, GroupResult, RowGroup, SamplerSettings } from '../contract.ts'
import { EngineError } from '../errors.ts'
import { BatchBuffers } from './batch.ts'
import { listDevices } from './devices.ts'
import { emptyLogs, fillLogs, firstLogs } from './draw-logs.ts'
import { EmbeddingLookup } from './embedding.ts'
import type { Llama, Pointer } from './library.ts'
import { type LoadedInit, loadContext, loadModel, type SpanMetadata } from './load.ts'
import { SequenceSampler } from './sampler.ts'
import { checkState } from './state.ts'
import { Vocabulary } from './vocabulary.ts'
import { type Exit, GraphWatcher } from './watcher.ts'

interface Sequence {
  /** Ids of the rows in the KV cache: their count is the sequence's length. */
  readonly history: number[]
  sampler?: SequenceSampler
}

export class LlamaSpan {
  readonly description: EngineDescription
  readonly vocabulary: Vocabulary
  readonly #llama: Llama
  readonly #model: Pointer
  readonly #context: Pointer
  readonly #memory: Pointer
  readonly #watcher: GraphWatcher
  readonly #batch: BatchBuffers
  readonly #embedding: EmbeddingLookup | undefined
  readonly #metadata: SpanMetadata
  readonly #sequences: Sequence[]

  constructor(llama: Llama, init: LoadedInit, metadata: SpanMetadata, onProgress: (f: number) => void) {
    this.#llama = llama
    this.#metadata = metadata
    this.#model = loadModel(llama, init, onProgress)
    const width = llama.llama_model_n_embd(this.#model) as number
    this.vocabulary = new Vocabulary(llama, llama.llama_model_get_vocab(this.#model))
    this.#watcher = new GraphWatcher(llama, width)
    const watched = init.hiddenStates || metadata.inputTensor !== undefined
    this.#context = loadContext(llama, this.#model, init, watched ? this.#watcher.callback : null)
    this.#memory = llama.llama_get_memory(this.#context)
    this.#batch = new BatchBuffers(init.maxRows, width)
    this.#embedding =
      init.embedding === undefined
        ? undefined
        : new EmbeddingLookup(llama, init.embedding, metadata.embeddingScale)
    this.#sequences = Array.from({ length: init.sequences }, () => ({ history: [] }))
    this.description = {
      process: process.pid,
      libraryVersion: llama.llama_version(),
      model: describe(llama, this.#model),
      blocks: llama.llama_model_n_layer(this.#model),
      width,
      vocabulary: init.embedding?.vocabulary ?? this.vocabulary.size,
      context: llama.llama_n_ctx(this.#context),
      sequences: init.sequences,
      maxRows: init.maxRows,
      maxOutputs: init.maxOutputs,
      threads: init.threads,
      slidingWindow: llama.llama_model_n_swa(this.#model),
      contextTrained: llama.llama_model_n_ctx_train(this.#model),
      weightBytes: Number(llama.llama_model_size(this.#model)),
      hiddenStates: init.hiddenStates,
      beginToken: this.vocabulary.beginToken,
      endToken: this.vocabulary.endToken,
      endTokens: this.vocabulary.endTokens(),
      devices: listDevices(llama)
    }
  }

  #sequence(index: number): Sequence {
    return this.#sequences[index] as Sequence
  }

  /** Groups of which one fails are run again in halves, so that the others don't suffer for it. */
  run(groups: readonly RowGroup[]): BatchResult {
    const start = performance.now()
    const results: GroupResult[] = []
    this.#runHalves(groups, results)
    return { groups: results, computeMs: performance.now() - start }
  }

  #runHalves(groups: readonly RowGroup[], results: GroupResult[]): void {
    try {
      results.push(...this.#runBatch(groups))
    } catch (error) {
      if (groups.length === 1) {
        const message = error instanceof Error ? error.message : String(error)
        results.push({ error: error instanceof EngineError ? error : new EngineError('COMPUTE', message) })
        return
      }
      const middle = Math.ceil(groups.length / 2)
      this.#runHalves(groups.slice(0, middle), results)
      this.#runHalves(groups.slice(middle), results)
    }
  }

  #runBatch(groups: readonly RowGroup[]): GroupResult[] {
    const { blocks, width } = this.description
    const lastBlock = blocks - 1
    const injected = this.#embedding !== undefined || groups[0]?.hidden !== undefined
    const exits: Exit[] = []
    const results: GroupResult[] = []
    let head = false
    let deepest = -1
    this.#batch.clear()
    for (const group of groups) {
      this.#checkGroup(group)
      const row = this.#batch.rows
      const rows = group.tokens.length
      const leaves = group.output === 'hidden'
      if (leaves) {
        const exit = { block: group.leaveAfter ?? lastBlock, row, out: new Float32Array(rows * width) }
        exits.push(exit)
        results.push({ hidden: exit.out })
        deepest = Math.max(deepest, exit.block)
      } else {
        results.push({})
        head ||= group.output !== 'none'
        deepest = lastBlock
      }
      // llama.cpp drops rows without output in its last block: rows that leave there must ask for one.
      const outputs = this.#metadata.head ? outputRows(group, lastBlock) : 'all'
      this.#batch.add(group, injected ? this.#hiddenOf(group) : undefined, outputs)
    }
    try {
      this.#decode(groups, { rows: this.#batch.rows, exits, lastBlock: deepest, head })
      let row = 0
      for (const [index, group] of groups.entries()) {
        for (const token of group.tokens) this.#sequence(group.sequence).history.push(token)
        Object.assign(results[index] as GroupResult, this.#outputs(group, row))
        row += group.tokens.length
      }
    } catch (error) {
      // Rows that were computed before the failure are in the cache: cut every sequence back to what it was.
      for (const { sequence, position } of groups) {
        this.#llama.llama_memory_seq_rm(this.#memory, sequence, position, -1)
        this.#sequence(sequence).history.length = position
      }
      throw error
    }
    return results
  }

  /** What can't be known in the parent, and must hold before anything is computed. */
  #checkGroup(group: RowGroup): void {
    const { history, sampler } = this.#sequence(group.sequence)
    if (sampler === undefined && group.output.startsWith('sample-')) {
      throw new EngineError('INPUT', `Sequence ${group.sequence} has no sampler.`)
    }
    if (group.position !== history.length) {
      throw new EngineError(
        'INPUT',
        `Sequence ${group.sequence} has ${history.length} positions; rows at ${group.position} don't follow.`
      )
    }
  }

  #hiddenOf(group: RowGroup): Float32Array {
    if (group.hidden !== undefined) return group.hidden
    const hidden = new Float32Array(group.tokens.length * this.description.width)
    this.#embedding?.lookup(group.tokens, hidden)
    return hidden
  }

  #decode(
    groups: readonly RowGroup[],
    watch: { rows: number; exits: Exit[]; lastBlock: number; head: boolean }
  ): void {
    const { inputTensor } = this.#metadata
    const overwrite = inputTensor !== undefined && groups[0]?.hidden !== undefined
    const input = overwrite ? { name: inputTensor, rows: this.#batch.hidden } : undefined
    const status = this.#watcher.during({ ...watch, input }, () =>
      this.#llama.llama_decode(this.#context, this.#batch.struct)
    ) as number
    if (status === 0) return
    if (status === 1) throw new EngineError('KV_FULL', `No room in the KV cache for ${watch.rows} more rows.`)
    throw new EngineError('COMPUTE', `llama_decode gave up (status ${status}).`)
  }

  #outputs(group: RowGroup, row: number): GroupResult {
    const rows = group.tokens.length
    const first = group.output.endsWith('-last') ? rows - 1 : 0
    if (group.output.startsWith('logits-')) {
      const { vocabulary } = this.description
      const logits = new Float32Array((rows - first) * vocabulary)
      for (let index = first; index < rows; index++) {
        const pointer = this.#llama.llama_get_logits_ith(this.#context, row + index)
        logits.set(new Float32Array(koffi.view(pointer, vocabulary * 4)), (index - first) * vocabulary)
      }
      return { logits }
    }
    if (!group.output.startsWith('sample-')) return {}
    const { history, sampler } = this.#sequence(group.sequence)
    const sampled = new Int32Array(rows - first)
    let draws = 0
    const { vocabulary } = this.description
    const alternatives = sampler?.alternatives
    const logs =
      alternatives === undefined ? undefined : emptyLogs(rows - first, Math.min(alternatives, vocabulary))
    for (let index = first; index < rows; index++) {
      const length = group.position + index + 1
      // A row's norm spreads whatever is wrong in it over all of its logits; samplers sort, and NaN has no order.
      const pointer = this.#llama.llama_get_logits_ith(this.#context, row + index)
      if (Number.isNaN(koffi.decode.float(pointer))) {
        throw new EngineError('COMPUTE', 'The logits are not numbers.')
      }
      const token = sampler?.draw(this.#context, row + index, history, length) ?? -1
      sampled[draws] = token
      if (logs !== undefined && token >= 0) {
        fillLogs(logs, draws, new Float32Array(koffi.view(pointer, vocabulary * 4)), token)
      }
      draws += 1
      if (token !== group.tokens[index + 1]) break // what follows was guessed wrong
    }
    return { sampled: sampled.subarray(0, draws), ...(logs && { logs: firstLogs(logs, draws) }) }
  }

  /** See Engine.truncate. The window rule is llama.cpp's own for context checkpoints. */
  truncate(sequence: number, length: number): number {
    const { history } = this.#sequence(sequence)
    if (length >= history.length) return history.length
    if (length > 0 && this.description.slidingWindow > 0) {
      const oldest = this.#llama.llama_memory_seq_pos_min(this.#memory, sequence) as number
      const needed = Math.max(0, length - this.description.slidingWindow)
      if (oldest < 0 || oldest > needed) length = 0
    }
    if (!this.#llama.llama_memory_seq_rm(this.#memory, sequence, length, -1)) {
      this.#llama.llama_memory_seq_rm(this.#memory, sequence, -1, -1)
      length = 0
    }
    history.length = length
    return length
  }

  drop(sequence: number): void {
    this.#llama.llama_memory_seq_rm(this.#memory, sequence, -1, -1)
    const state = this.#sequence(sequence)
    state.sampler?.free()
    this.#sequences[sequence] = { history: [] }
  }

  copy(from: number, to: number, length: number): void {
    const source = this.#sequence(from)
    if (length > source.history.length) {
      throw new EngineError(
        'INPUT',
        `Sequence ${from} has ${source.history.length} positions, not ${length}.`
      )
    }
    this.drop(to)
    this.#llama.llama_memory_seq_cp(this.#memory, from, to, 0, length)
    this.#sequences[to] = { history: source.history.slice(0, length) }
  }

  setSampler(sequence: number, settings: SamplerSettings): void {
    const state = this.#sequence(sequence)
    const sampler = new SequenceSampler(this.#llama, this.vocabulary, settings, this.description.context)
    state.sampler?.free()
    state.sampler = sampler
  }

  save(sequence: number): Uint8Array {
    const size = Number(this.#llama.llama_state_seq_get_size(this.#context, sequence))
    const state = new Uint8Array(size)
    const written = Number(this.#llama.llama_state_seq_get_data(this.#context, state, size, sequence))
    return state.subarray(0, written)
  }

  restore(sequence: number, state: Uint8Array, tokens: Int32Array): number {
    const { sampler } = this.#sequence(sequence)
    checkState(state, tokens.length)
    this.#llama.llama_memory_seq_rm(this.#memory, sequence, -1, -1)
    this.#sequences[sequence] = { history: [], sampler }
    const read = Number(this.#llama.llama_state_seq_set_data(this.#context, state, state.length, sequence))
    const length = (this.#llama.llama_memory_seq_pos_max(this.#memory, sequence) as number) + 1
    if (read === 0 || length !== tokens.length) {
      this.#llama.llama_memory_seq_rm(this.#memory, sequence, -1, -1)
      throw new EngineError(
        'INPUT',
        `The saved state does not fit: ${length} positions for ${tokens.length} ids.`
      )
    }
    this.#sequence(sequence).history.push(...tokens)
    return length
  }

  free(): void {
    for (const { sampler } of this.#sequences) sampler?.free()
    this.#embedding?.close()
    this.#llama.llama_free(this.#context)
    this.#llama.llama_model_free(this.#model)
    this.#watcher.free()
  }
}

/** Which of a group's rows need logits from a span that has the head. */
function outputRows(group: RowGroup, lastBlock: number): 'none' | 'last' | 'all' {
  if (group.output === 'none') return 'none'
  if (group.output === 'hidden') return (group.leaveAfter ?? lastBlock) === lastBlock ? 'all' : 'none'
  return group.output.endsWith('-last') ? 'last' : 'all'
}

function describe(llama: Llama, model: Pointer): string {
  const buffer = new Uint8Array(256)
  const length = llama.llama_model_desc(model, buffer, buffer.length) as number
  return new TextDecoder().decode(buffer.subarray(0, Math.max(0, length)))
}
