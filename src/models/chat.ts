/** The text side of a model: chat template, token ids, and ids back to text. Needs the vocabulary only. */
import { Template } from '@huggingface/jinja'
import type { Startable } from '../common/index.ts'
import { ShoalError } from '../common/index.ts'
import { type Engine, LlamaEngine, type LoadOptions } from '../engine/index.ts'
import type { ModelFile } from './model-file.ts'

export interface ChatMessage {
  readonly role: 'system' | 'user' | 'assistant'
  readonly content: string
}

export class ChatText implements Startable {
  readonly #engine: Engine
  readonly #template: Template | undefined

  /** Throws a ShoalError TEMPLATE where the model's template does not parse. */
  constructor(model: Pick<ModelFile, 'gguf' | 'files'>) {
    const source = model.gguf.metadata.get('tokenizer.chat_template')?.value
    this.#template = typeof source === 'string' ? templated(() => new Template(source)) : undefined
    this.#engine = new LlamaEngine({
      ...{ files: model.files, vocabularyOnly: true, gpuLayers: 0 },
      ...{ context: 0, sequences: 0, threads: 1 }
    })
  }

  async start(options: LoadOptions = {}): Promise<void> {
    await this.#engine.start(options)
  }

  async stop(): Promise<void> {
    await this.#engine.stop()
  }

  /** Ids after which an answer ends. */
  get endTokens(): ReadonlySet<number> {
    return new Set(this.#engine.description.endTokens)
  }

  /** The ids of a conversation, ready for the assistant's answer; of a bare text for a model without template. */
  async tokenize(messages: readonly ChatMessage[]): Promise<Int32Array> {
    const { beginToken, endToken } = this.#engine.description
    const begin = await this.#text(beginToken)
    const text = this.#render(messages, begin, await this.#text(endToken))
    // Most templates write the begin token themselves: not twice.
    const addSpecial = begin === '' || !text.startsWith(begin)
    return this.#engine.tokenize(text, { addSpecial, parseSpecial: true })
  }

  #render(messages: readonly ChatMessage[], begin: string, end: string): string {
    const template = this.#template
    if (template === undefined) return messages.map(({ content }) => content).join('\n')
    const variables = { messages, add_generation_prompt: true, bos_token: begin, eos_token: end }
    return templated(() => template.render(variables))
  }

  /** Of a special token; '' where llama.cpp names an ordinary one for want of any. */
  async #text(token: number): Promise<string> {
    if (token < 0) return ''
    const [ordinary] = await this.#engine.pieces(Int32Array.of(token))
    if (ordinary === undefined || ordinary.bytes.length > 0) return ''
    const [piece] = await this.#engine.pieces(Int32Array.of(token), { special: true })
    return new TextDecoder().decode(piece?.bytes)
  }

  /** Text as it becomes whole: a character may be spread over several tokens. */
  async *decode(tokens: AsyncIterable<number>): AsyncGenerator<string, void> {
    const decoder = new TextDecoder()
    for await (const token of tokens) {
      const [piece] = await this.#engine.pieces(Int32Array.of(token))
      const text = decoder.decode(piece?.bytes, { stream: true })
      if (text !== '') yield text
    }
    const rest = decoder.decode()
    if (rest !== '') yield rest
  }
}

function templated<T>(use: () => T): T {
  try {
    return use()
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause)
    throw new ShoalError('TEMPLATE', `The model's chat template cannot be used: ${reason}`, { cause })
  }
}
