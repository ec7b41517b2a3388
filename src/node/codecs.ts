/** Which codec the answers that a node asks for travel in. */
import { resolveName } from '../models/index.ts'
import type { RowCodec } from '../net/index.ts'
import { type CodecChoice, chooseCodec } from '../session/index.ts'
import type { ChainHop } from '../swarm/index.ts'
import type { Library } from './library.ts'

export interface CodecsComponents {
  readonly library: Pick<Library, 'listing'>
  /** All names of each model here, by its id. */
  readonly names: () => Promise<ReadonlyMap<string, readonly string[]>>
}

export class Codecs {
  readonly #components: CodecsComponents
  readonly #asked: CodecChoice

  constructor(components: CodecsComponents, asked: CodecChoice) {
    this.#components = components
    this.#asked = asked
  }

  /** For a session over these stages. */
  async codecFor(chain: readonly ChainHop[]): Promise<RowCodec> {
    const [first] = chain
    if (first === undefined) return 'f32'
    const certified = this.#asked === 'auto' ? await this.#certified(first.stage.model) : []
    const stages = chain.map(({ stage }) => stage)
    return chooseCodec(this.#asked, certified, stages)
  }

  /** By whoever has published the model, or with the catalogue. */
  async #certified(id: string): Promise<readonly string[]> {
    const { library, names } = this.#components
    const listing = await library.listing(id)
    const called = (await names()).get(id) ?? []
    return [...(listing?.codecs ?? []), ...called.flatMap(catalogueCodecs)]
  }
}

function catalogueCodecs(text: string): readonly string[] {
  try {
    const name = resolveName(text)
    return name.kind === 'catalogue' ? (name.size.codecs ?? []) : []
  } catch {
    return [] // a name of an older catalogue
  }
}
