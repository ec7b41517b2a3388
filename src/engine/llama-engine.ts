/** The Engine that runs llama.cpp, in a child process that is started again when it dies. */
import { EventEmitter } from 'node:events'
import { FileSource } from '../common/index.ts'
import { readGguf } from '../gguf/index.ts'
import type { Message } from './channel.ts'
import * as check from './check.ts'
import { EngineChild } from './child.ts'
import type {
  BatchResult,
  DeviceInfo,
  Engine,
  EngineDescription,
  EngineInit,
  LoadOptions,
  RowGroup,
  SamplerSettings
} from './contract.ts'
import { EngineError } from './errors.ts'
import type { LoadedInit, SpanMetadata } from './llama/load.ts'
import { decodeResult, encodeGroups, type Request } from './messages.ts'

/** First wait before a restart; doubled at each death, up to the last. */
const BACK_OFF_MS = 100
const LONGEST_BACK_OFF_MS = 10_000
/** An engine that lived this long died of something new: the back-off starts over. */
const HEALTHY_MS = 60_000

const DEFAULT_MAX_ROWS = 512
/** See EngineInit.maxOutputs. */
const LEAST_OUTPUTS = 16

export interface EngineComponents {
  /** Has a dead engine load again: its files may have to be made what they were first. */
  readonly reload?: (load: () => Promise<void>, signal: AbortSignal) => Promise<void>
}

export class LlamaEngine implements Engine {
  readonly #init: EngineInit
  readonly #reload: NonNullable<EngineComponents['reload']>
  readonly #events = new EventEmitter<{ state: ['died' | 'restarted', string] }>()
  #metadata: SpanMetadata | undefined
  #description: EngineDescription | undefined
  #child: EngineChild | undefined
  #started: Promise<void> | undefined
  /** Aborted by `stop`: whatever is loading then is given up. */
  #life = new AbortController()
  #loading: Promise<void> = Promise.resolve()
  #backOffMs = BACK_OFF_MS
  #restart: NodeJS.Timeout | undefined

  constructor(init: EngineInit, { reload = (load) => load() }: EngineComponents = {}) {
    this.#init = init
    this.#reload = reload
  }

  get description(): EngineDescription {
    if (this.#description === undefined) throw new EngineError('INPUT', 'The engine has not been started.')
    return this.#description
  }

  async start(options: LoadOptions = {}): Promise<void> {
    this.#started ??= this.#start(options)
    await this.#started
  }

  async #start({ signal, onProgress }: LoadOptions): Promise<void> {
    this.#life = new AbortController()
    this.#backOffMs = BACK_OFF_MS
    const life = this.#life.signal
    const given = signal === undefined ? life : AbortSignal.any([life, signal])
    this.#loading = this.#readAndLoad({ signal: given, onProgress })
    try {
      await this.#loading
    } catch (error) {
      this.#started = undefined
      if (given.aborted) throw new EngineError('ABORTED', 'Loading was given up.', { cause: error })
      throw error
    }
  }

  async #readAndLoad(options: LoadOptions): Promise<void> {
    this.#metadata = await this.#readMetadata(options.signal)
    await this.#load(options)
  }

  /** Reads the header by our own strict reader first: llama.cpp only sees files that pass it. */
  async #readMetadata(signal?: AbortSignal): Promise<SpanMetadata> {
    const sources = await FileSource.openAll(this.#init.files).catch((error: Error) => {
      throw new EngineError('LOAD_FAILED', `A file of the model cannot be opened: ${error.message}`)
    })
    try {
      const { metadata } = await readGguf(sources, signal)
      const inputTensor = metadata.get('shoal.input_tensor')?.value
      const scale = metadata.get('shoal.embedding_scale')?.value
      return {
        head: metadata.get('shoal.head')?.value !== false,
        embeds: this.#init.embedding !== undefined || metadata.get('shoal.embedding')?.value !== false,
        embeddingScale: typeof scale === 'number' ? scale : 1,
        ...(typeof inputTensor === 'string' ? { inputTensor } : {})
      }
    } finally {
      await Promise.all(sources.map((source) => source.close()))
    }
  }

  async #load({ signal, onProgress }: LoadOptions): Promise<void> {
    signal?.throwIfAborted()
    const life = this.#life.signal
    const child = new EngineChild((fraction) => onProgress?.(fraction))
    const metadata = this.#metadata as SpanMetadata
    const init = withDefaults(this.#init, metadata.head)
    const abort = (): void => void child.kill()
    signal?.addEventListener('abort', abort, { once: true })
    try {
      const { head } = await child.request({ op: 'load', init, metadata })
      signal?.throwIfAborted()
      this.#description = head.description as EngineDescription
    } catch (error) {
      await child.kill()
      const reasons = child.errorLog()
      if (reasons === '' || !(error instanceof EngineError)) throw error
      throw new EngineError(error.code, `${error.message} (${reasons})`, { cause: error })
    } finally {
      signal?.removeEventListener('abort', abort)
    }
    this.#child = child
    const started = performance.now()
    void child.exited.then((reason) => this.#died(child, reason, performance.now() - started, life))
  }

  #died(child: EngineChild, reason: string, livedMs: number, life: AbortSignal): void {
    if (this.#child !== child) return
    this.#child = undefined
    if (livedMs > HEALTHY_MS) this.#backOffMs = BACK_OFF_MS
    this.#scheduleRestart(life)
    this.#events.emit('state', 'died', reason)
  }

  #scheduleRestart(life: AbortSignal): void {
    const waitMs = this.#backOffMs
    this.#backOffMs = Math.min(waitMs * 2, LONGEST_BACK_OFF_MS)
    this.#restart = setTimeout(async () => {
      this.#loading = this.#reload(() => this.#load({ signal: life }), life)
      try {
        await this.#loading
      } catch {
        if (!life.aborted) this.#scheduleRestart(life)
        return
      }
      this.#events.emit('state', 'restarted', `after ${waitMs} ms`)
    }, waitMs)
  }

  restart(reason: string): void {
    this.#child?.abandon(reason)
  }

  onStateChange(listener: (state: 'died' | 'restarted', detail: string) => void): () => void {
    this.#events.on('state', listener)
    return () => this.#events.off('state', listener)
  }

  async stop(): Promise<void> {
    this.#life.abort()
    clearTimeout(this.#restart)
    const child = this.#child
    this.#child = undefined
    this.#started = undefined
    await Promise.allSettled([child?.kill(), this.#loading])
  }

  #request(request: Request, parts?: readonly ArrayBufferView[]): Promise<Message> {
    if (this.#child === undefined) throw new EngineError('DIED', 'The engine is not running.')
    return this.#child.request(request, parts)
  }

  async run(groups: readonly RowGroup[]): Promise<BatchResult> {
    check.checkGroups(this.description, groups, this.#metadata as SpanMetadata)
    const { heads, parts } = encodeGroups(groups)
    const reply = await this.#request({ op: 'run', groups: heads }, parts)
    return decodeResult(reply.head, reply.body)
  }

  async truncate(sequence: number, length: number): Promise<number> {
    check.checkSequence(this.description, sequence)
    check.checkLength(this.description, length)
    return (await this.#request({ op: 'truncate', sequence, length })).head.length as number
  }

  async copy(from: number, to: number, length: number): Promise<void> {
    check.checkSequence(this.description, from)
    check.checkSequence(this.description, to)
    check.checkLength(this.description, length)
    if (from === to) throw new EngineError('INPUT', 'A sequence cannot be copied onto itself.')
    await this.#request({ op: 'copy', from, to, length })
  }

  async drop(sequence: number): Promise<void> {
    check.checkSequence(this.description, sequence)
    await this.#request({ op: 'drop', sequence })
  }

  async save(sequence: number): Promise<Uint8Array> {
    check.checkSequence(this.description, sequence)
    return (await this.#request({ op: 'save', sequence })).body
  }

  async restore(sequence: number, state: Uint8Array, tokens: Int32Array): Promise<number> {
    const { embeds, head } = this.#metadata as SpanMetadata
    check.checkSequence(this.description, sequence)
    check.checkTokens(this.description, tokens, embeds || head)
    check.checkLength(this.description, tokens.length)
    check.checkBytes(state)
    const request = { op: 'restore', sequence, tokens: tokens.length } as const
    return (await this.#request(request, [tokens, state])).head.length as number
  }

  async setSampler(sequence: number, settings: SamplerSettings): Promise<void> {
    check.checkSequence(this.description, sequence)
    const checked = check.checkSampler(this.description, settings)
    if (this.#metadata?.head !== true) throw new EngineError('INPUT', 'This span has no head to sample from.')
    await this.#request({ op: 'sampler', sequence, settings: checked })
  }

  async tokenize(
    text: string,
    options: { addSpecial?: boolean; parseSpecial?: boolean } = {}
  ): Promise<Int32Array> {
    check.checkText(text)
    const { addSpecial = true, parseSpecial = true } = options
    const { body } = await this.#request({ op: 'tokenize', text, addSpecial, parseSpecial })
    return new Int32Array(body.buffer, body.byteOffset, body.byteLength / 4)
  }

  async pieces(tokens: Int32Array, { special = false } = {}): Promise<{ bytes: Uint8Array; end: boolean }[]> {
    check.checkTokens(this.description, tokens)
    const { head, body } = await this.#request({ op: 'pieces', special }, [tokens])
    const { lengths, ends } = head as { lengths: number[]; ends: boolean[] }
    let offset = 0
    return lengths.map((length, index) => {
      const bytes = body.subarray(offset, offset + length)
      offset += length
      return { bytes, end: ends[index] as boolean }
    })
  }

  async devices(): Promise<DeviceInfo[]> {
    return (await this.#request({ op: 'devices' })).head.devices as DeviceInfo[]
  }

  async memory(): Promise<number> {
    return (await this.#request({ op: 'memory' })).head.bytes as number
  }
}

function withDefaults(init: EngineInit, head: boolean): LoadedInit {
  const maxRows = init.maxRows ?? DEFAULT_MAX_ROWS
  const maxOutputs = init.maxOutputs ?? Math.max(LEAST_OUTPUTS, init.sequences)
  return {
    kvUnified: true,
    kvTypeK: 'f16',
    kvTypeV: 'f16',
    flashAttention: true,
    gpuLayers: -1,
    vocabularyOnly: false,
    hiddenStates: !head,
    ...init,
    maxRows,
    // Without a head outputs cost nothing (the vocabulary is a dummy), and every row asks for one.
    maxOutputs: head ? Math.min(maxOutputs, maxRows) : maxRows
  }
}
