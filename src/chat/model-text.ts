/** The text side of a model: its template, token ids, and ids back to bytes. Needs the vocabulary only. */
import type { Startable } from '../common/index.ts'
import { type Engine, LlamaEngine, type LoadOptions } from '../engine/index.ts'
import type { GgufModel } from '../gguf/index.ts'
import type { AnswerRequest, Format, Sampling } from './contract.ts'
import { grammarOf, jsonGrammar } from './grammar.ts'
import type { AnswerSyntax } from './syntax.ts'
import { ChatTemplate, type Rendered } from './template.ts'

export interface Vocabulary {
  readonly gguf: Pick<GgufModel, 'metadata'>
  readonly files: readonly string[]
}

export interface Prompt extends Omit<Rendered, 'text'> {
  readonly tokens: Int32Array
  readonly templateMs: number
  readonly tokenizeMs: number
}

const PLAIN: AnswerSyntax = {
  reasoning: undefined,
  calls: undefined,
  needsSpecials: false,
  isReasoning: false
}

export class ModelText implements Startable {
  /** What whoever made the model says is best. */
  readonly recommended: Sampling
  readonly #engine: Engine
  readonly #metadata: GgufModel['metadata']
  readonly #bytes = new Map<number, Uint8Array>()
  readonly #specials = new Map<number, Uint8Array>()
  #template: ChatTemplate | undefined
  #begin = ''

  constructor({ gguf, files }: Vocabulary) {
    this.#metadata = gguf.metadata
    this.recommended = recommendedBy(gguf.metadata)
    this.#engine = new LlamaEngine({
      ...{ files, vocabularyOnly: true, gpuLayers: 0 },
      ...{ context: 0, sequences: 0, threads: 1 }
    })
  }

  /** Throws a ShoalError TEMPLATE where the model's template does not parse, and what engines throw. */
  async start(options: LoadOptions = {}): Promise<void> {
    await this.#engine.start(options)
    const { beginToken, endToken } = this.#engine.description
    this.#begin = await this.#special(beginToken)
    const [template, toolUse] = ['tokenizer.chat_template', 'tokenizer.chat_template.tool_use'].map((key) => {
      const value = this.#metadata.get(key)?.value
      return typeof value === 'string' ? value : undefined
    })
    this.#template = new ChatTemplate(
      { template, toolUse },
      { begin: this.#begin, end: await this.#special(endToken) }
    )
  }

  async stop(): Promise<void> {
    await this.#engine.stop()
  }

  /** Ids after which an answer ends. */
  get endTokens(): ReadonlySet<number> {
    return new Set(this.#engine.description.endTokens)
  }

  get vocabulary(): number {
    return this.#engine.description.vocabulary
  }

  /** Throws what {@link ChatTemplate.render} throws. */
  async prompt({ input, format }: Pick<AnswerRequest, 'input' | 'format'>): Promise<Prompt> {
    const startedAt = performance.now()
    if (input.kind === 'continuation') {
      const { prompt } = input
      const tokens =
        typeof prompt === 'string'
          ? await this.#engine.tokenize(prompt, { addSpecial: true, parseSpecial: true })
          : prompt
      const tokenizeMs = performance.now() - startedAt
      return { tokens, grammar: constraintOf(format), syntax: PLAIN, templateMs: 0, tokenizeMs }
    }
    const { text, ...rendered } = (this.#template as ChatTemplate).render(input, format)
    const renderedAt = performance.now()
    // Most templates write the begin token themselves: not twice.
    const addSpecial = this.#begin === '' || !text.startsWith(this.#begin)
    const tokens = await this.#engine.tokenize(text, { addSpecial, parseSpecial: true })
    const times = { templateMs: renderedAt - startedAt, tokenizeMs: performance.now() - renderedAt }
    return { ...rendered, tokens, ...times }
  }

  /** `special`: those of the vocabulary's own signs, too, as they are written. One character may take several tokens. */
  async bytesOf(token: number, special: boolean): Promise<Uint8Array> {
    const known = special ? this.#specials : this.#bytes
    const cached = known.get(token)
    if (cached !== undefined) return cached
    const [piece] = await this.#engine.pieces(Int32Array.of(token), { special })
    const bytes = piece?.bytes ?? new Uint8Array(0)
    known.set(token, bytes)
    return bytes
  }

  /** Of a special token; '' where llama.cpp names an ordinary one for want of any. */
  async #special(token: number): Promise<string> {
    if (token < 0 || (await this.bytesOf(token, false)).length > 0) return ''
    return new TextDecoder().decode(await this.bytesOf(token, true))
  }
}

function constraintOf(format: Format): string | undefined {
  switch (format.kind) {
    case 'text':
      return undefined
    case 'json':
      return jsonGrammar
    case 'schema':
      return grammarOf(format.schema)
    case 'grammar':
      return format.grammar
  }
}

/** llama.cpp's keys for it. */
function recommendedBy(metadata: GgufModel['metadata']): Sampling {
  const number = (key: string): number | undefined => {
    const value = metadata.get(`general.sampling.${key}`)?.value
    return typeof value === 'number' ? value : undefined
  }
  return {
    temperature: number('temp'),
    topK: number('top_k'),
    topP: number('top_p'),
    minP: number('min_p')
  }
}
