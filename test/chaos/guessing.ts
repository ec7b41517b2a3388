/** Drafters for the answers that are disturbed: n-grams and the demo's draft, as `shoal run` has them. */
import { fileURLToPath } from 'node:url'
import { LlamaEngine } from '../../src/engine/index.ts'
import {
  BestDrafter,
  DraftEngine,
  type Drafter,
  defaultSampler,
  ModelDrafter,
  NgramDrafter
} from '../../src/session/index.ts'

const DRAFT = fileURLToPath(new URL('../../models/demo-draft.gguf', import.meta.url))
/** Answers at once. */
const SEQUENCES = 4

export class Guessing {
  readonly #engine: LlamaEngine
  #shared: DraftEngine | undefined

  constructor(context: number) {
    const shape = { context: SEQUENCES * context, sequences: SEQUENCES, threads: 1, gpuLayers: 0 }
    this.#engine = new LlamaEngine({ files: [DRAFT], ...shape })
  }

  async start(): Promise<void> {
    await this.#engine.start()
    this.#shared = new DraftEngine(this.#engine)
  }

  drafter(): Drafter {
    const { vocabulary } = this.#engine.description
    const init = { sampler: defaultSampler(), vocabulary }
    return new BestDrafter(new NgramDrafter(), new ModelDrafter(this.#shared as DraftEngine, init))
  }

  async stop(): Promise<void> {
    this.#shared?.close()
    await this.#engine.stop()
  }
}
