/** A chain of three provider processes with the embedded model over emulated links, and answers with and without guesses. */
import { fileURLToPath } from 'node:url'
import { LlamaEngine } from '../src/engine/index.ts'
import type { SamplerOptions } from '../src/net/index.ts'
import { Node } from '../src/node/index.ts'
import {
  BestDrafter,
  type ChainEvent,
  DraftEngine,
  type Drafter,
  ModelDrafter,
  NgramDrafter,
  openSession,
  type Session,
  type SpeculationFigures
} from '../src/session/index.ts'
import { type ChainHop, discover, findChain } from '../src/swarm/index.ts'
import { emulate, type WanProfile } from '../test/wan/index.ts'
import { DEMO, DEMO_SPANS } from './demo.ts'
import { type Provider, startProvider } from './providers.ts'

const DRAFT = fileURLToPath(new URL('../models/demo-draft.gguf', import.meta.url))
const CONTEXT = 1_024
const SESSIONS = 4

/** Who guesses. */
export type Guesser = 'nobody' | 'ngrams' | 'model' | 'both'

export interface Answer {
  readonly tokens: readonly number[]
  /** Milliseconds per token after the first. */
  readonly tokenMs: number
  readonly speculation: SpeculationFigures | undefined
  /** What happened to the chain: rows that are computed again, in larger batches, are not bit for bit what they were. */
  readonly events: readonly ChainEvent[]
}

export class SpeculationChain {
  /** The whole model, for prompts and their text. */
  readonly model = engineOf(DEMO)
  readonly #draft = engineOf(DRAFT)
  readonly #consumer: Node
  readonly #links = emulate({ rttMs: 0, jitterMs: 0, bitsPerSecond: 1e12, loss: 0 })
  readonly #providers: Provider[] = []
  #shared: DraftEngine | undefined
  #chain: ChainHop[] = []

  private constructor(folder: string) {
    this.#consumer = new Node({ dataDir: folder, listen: [], peers: [], ephemeral: true })
  }

  static async start(folder: string): Promise<SpeculationChain> {
    const chain = new SpeculationChain(folder)
    try {
      await Promise.all([chain.model.start(), chain.#draft.start(), chain.#consumer.start()])
      chain.#shared = new DraftEngine(chain.#draft)
      const engine = ['--threads', '1', '--context', String(CONTEXT), '--sessions', String(SESSIONS)]
      const flags = [...engine, '--gpu-layers', '0']
      for (const blocks of DEMO_SPANS) {
        chain.#providers.push(await startProvider({ model: DEMO, blocks, folder, flags, profile: 'none' }))
      }
      const { host } = chain.#consumer
      const stages = await discover(
        host,
        chain.#providers.map(({ address }) => address)
      )
      chain.#chain = findChain(stages, (stages[0] as (typeof stages)[0]).stage.model)
      return chain
    } catch (error) {
      await chain.stop()
      throw error
    }
  }

  /** All links are so from now on. */
  wan(profile: WanProfile): void {
    this.#links.profile = profile
    for (const provider of this.#providers) provider.wan(profile)
  }

  #open(sampler: SamplerOptions, guesser: Guesser, onEvent: (event: ChainEvent) => void): Promise<Session> {
    const drafter = this.#drafter(sampler, guesser)
    return openSession(this.#consumer, {
      ...{ chain: this.#chain, sampler, reserve: CONTEXT / SESSIONS, onEvent },
      ...(drafter === undefined ? {} : { drafter })
    })
  }

  #drafter(sampler: SamplerOptions, guesser: Guesser): Drafter | undefined {
    if (guesser === 'nobody') return undefined
    if (guesser === 'ngrams') return new NgramDrafter()
    const { vocabulary } = this.model.description
    const model = new ModelDrafter(this.#shared as DraftEngine, { sampler, vocabulary })
    return guesser === 'model' ? model : new BestDrafter(new NgramDrafter(), model)
  }

  /** One answer in a session of its own, which is opened before the clock starts. */
  async answer(
    prompt: Int32Array,
    maxTokens: number,
    sampler: SamplerOptions,
    guesser: Guesser,
    endTokens: ReadonlySet<number>
  ): Promise<Answer> {
    const events: ChainEvent[] = []
    const session = await this.#open(sampler, guesser, (event) => events.push(event))
    try {
      const tokens: number[] = []
      let first = 0
      for await (const token of session.generate(prompt, { maxTokens, endTokens })) {
        if (tokens.length === 0) first = performance.now()
        tokens.push(token)
      }
      const tokenMs = (performance.now() - first) / Math.max(1, tokens.length - 1)
      return { tokens, tokenMs, speculation: session.speculation, events }
    } finally {
      await session.close()
    }
  }

  async stop(): Promise<void> {
    this.#shared?.close()
    await Promise.all(this.#providers.map((provider) => provider.stop()))
    await Promise.all([this.#consumer.stop(), this.model.stop(), this.#draft.stop()])
  }
}

function engineOf(file: string): LlamaEngine {
  return new LlamaEngine({ files: [file], context: CONTEXT, sequences: 2, threads: 1, gpuLayers: 0 })
}
