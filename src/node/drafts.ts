/** Small models that write ahead for larger ones: which fits, is it here, and its engine while somebody uses it. */
import { type Clock, ShoalError } from '../common/index.ts'
import type { SamplerOptions } from '../net/index.ts'
import { BestDrafter, type DraftEngine, type Drafter, ModelDrafter, NgramDrafter } from '../session/index.ts'
import { catalogueDraft, isCalled, isEmbedded } from './drafts-catalogue.ts'
import { draftParts, type LoadedDraft, loadDraft } from './drafts-engine.ts'
import { misfit, vocabularySize } from './drafts-fit.ts'
import type { Library, NamedModel } from './library.ts'

/** The next question comes within a minute, or a session is closed anyway; loading takes seconds. */
const IDLE_MS = 60_000

export interface DraftsComponents {
  readonly library: Pick<Library, 'find' | 'fetch' | 'store' | 'vocabulary'>
  /** All names of each model here, by its id. */
  readonly names: () => Promise<ReadonlyMap<string, readonly string[]>>
  readonly clock: Clock
  /** Bytes. */
  readonly freeMemory: () => number
  /** Warnings. */
  readonly report: (message: string) => void
}

export interface SpeculationSettings {
  /** Nothing is guessed at all. */
  readonly isOff?: boolean | undefined
  /**
   * The draft for all models whose tokenizer it has, fetched where it is not here; 'none' for none, which leaves
   * n-grams. Default: what the catalogue names for a model, where it is here already.
   */
  readonly draft?: string | undefined
}

/** A draft that fits a model. */
interface Fit {
  readonly draft: NamedModel
  /** Of the model that it drafts for. */
  readonly vocabulary: number
}

interface Loading {
  readonly called: string
  readonly loaded: Promise<LoadedDraft>
  users: number
  cancel: () => void
}

interface Lent {
  readonly shared: DraftEngine
  readonly vocabulary: number
  release(): void
}

export class Drafts {
  readonly #components: DraftsComponents
  readonly #settings: SpeculationSettings
  readonly #life = new AbortController()
  /** By the model that is drafted for. What was refused stays so. */
  readonly #fits = new Map<string, Promise<Fit | undefined>>()
  /** By the draft's id. */
  readonly #engines = new Map<string, Loading>()
  /** Drafts of which it was said that they can't be loaded. */
  readonly #failed = new Set<string>()

  constructor(components: DraftsComponents, settings: SpeculationSettings) {
    this.#components = components
    this.#settings = settings
  }

  /** What those are called that are in memory. */
  get loaded(): string[] {
    return [...this.#engines.values()].map(({ called }) => called)
  }

  /**
   * For one session with the model of this id: n-grams, and a draft where there is one, which is loaded meanwhile.
   * Undefined: nothing is to be guessed.
   */
  drafterFor(model: string, sampler: SamplerOptions): Drafter | undefined {
    const { isOff = false, draft } = this.#settings
    if (isOff) return undefined
    return draft === 'none' ? new NgramDrafter() : new LaterDrafter(this.#lend(model), sampler)
  }

  /** Undefined: there is none that fits. Never rejects. */
  async #lend(model: string): Promise<Lent | undefined> {
    const { clock } = this.#components
    const fit = await this.#fitOf(model)
    if (fit === undefined) return undefined
    const { draft, vocabulary } = fit
    const loading = this.#engines.get(draft.id) ?? this.#load(draft)
    loading.users += 1
    loading.cancel()
    const release = (): void => {
      loading.users -= 1
      if (loading.users === 0) loading.cancel = clock.after(IDLE_MS, () => void this.#unload(draft.id))
    }
    try {
      const { shared } = await loading.loaded
      return { shared, vocabulary, release }
    } catch {
      return undefined // it was said
    }
  }

  #load(draft: NamedModel): Loading {
    const { library, freeMemory } = this.#components
    const { signal } = this.#life
    const loaded = loadDraft(draft, library, { freeBytes: freeMemory(), signal })
    const loading = { called: draft.called, loaded, users: 0, cancel: () => {} }
    this.#engines.set(draft.id, loading)
    loaded.catch((error: Error) => {
      this.#engines.delete(draft.id) // there may be more memory next time
      if (!this.#failed.has(draft.id)) this.#warn(`${draft.called} does not write ahead: ${error.message}`)
      this.#failed.add(draft.id)
    })
    return loading
  }

  async #unload(id: string): Promise<void> {
    const loading = this.#engines.get(id)
    this.#engines.delete(id)
    loading?.cancel()
    await (await loading?.loaded.catch(() => undefined))?.stop()
  }

  async #fitOf(model: string): Promise<Fit | undefined> {
    const known = this.#fits.get(model)
    if (known !== undefined) return known
    const fit = this.#find(model).catch((error: Error) => {
      this.#warn(error.message)
      return 'refused' as const
    })
    const settled = fit.then((found) => (found === 'refused' ? undefined : found))
    this.#fits.set(model, settled)
    if ((await fit) === undefined) this.#fits.delete(model) // it may come later
    return settled
  }

  /** Undefined: the catalogue has none that is here. Throws why the one that was named can't be used. */
  async #find(model: string): Promise<Fit | undefined> {
    const { draft: name } = this.#settings
    const draft = await (name === undefined ? this.#ofCatalogue(model) : this.#named(name))
    if (draft === undefined) return undefined
    const { library } = this.#components
    const { signal } = this.#life
    const larger = await library.find(model, { signal })
    const [{ gguf }, own] = await Promise.all([
      library.vocabulary(larger, { signal }),
      library.vocabulary(draft, { signal })
    ])
    const why = misfit(gguf.metadata, own.gguf.metadata)
    if (why === undefined) return { draft, vocabulary: vocabularySize(gguf.metadata) }
    const advice = 'name one with the same tokenizer, or --draft none'
    throw new ShoalError('DRAFT', `${draft.called} can't write ahead for ${larger.name}: ${why}: ${advice}`)
  }

  /** Nothing is fetched, and nobody asked. */
  async #ofCatalogue(model: string): Promise<NamedModel | undefined> {
    const { library, names } = this.#components
    const all = await names()
    const name = catalogueDraft(all.get(model) ?? [])
    if (name === undefined) return undefined
    if (isEmbedded(name)) return library.find(name, { signal: this.#life.signal })
    for (const [id, called] of all) {
      if (!isCalled(called, name)) continue
      const draft = await library.find(id, { signal: this.#life.signal }).catch(() => undefined)
      if (draft !== undefined && (await this.#isHere(draft))) return { ...draft, called: called[0] ?? name }
    }
    return undefined
  }

  async #isHere(draft: NamedModel): Promise<boolean> {
    if (draft.files !== undefined) return true
    const stored = await (await this.#components.library.store).get(draft.id)
    return stored.missing(draftParts(draft)).length === 0
  }

  async #named(name: string): Promise<NamedModel> {
    const { library } = this.#components
    const { signal } = this.#life
    const draft = await library.find(name, { signal })
    if (draft.files === undefined) await library.fetch(draft, draftParts(draft), { signal })
    return draft
  }

  #warn(message: string): void {
    if (!this.#life.signal.aborted) this.#components.report(message)
  }

  async stop(): Promise<void> {
    this.#life.abort()
    await Promise.all([...this.#engines.keys()].map((id) => this.#unload(id)))
  }
}

/**
 * Guesses nothing until it is known whether there is a draft, and it is loaded: sessions judge by the first guesses
 * whether guessing pays, and n-grams alone are a poor sample of both.
 */
class LaterDrafter implements Drafter {
  readonly #lent: Promise<Lent | undefined>
  #sampler: SamplerOptions
  #drafter: Drafter | undefined
  #isClosed = false

  constructor(lent: Promise<Lent | undefined>, sampler: SamplerOptions) {
    this.#lent = lent
    this.#sampler = sampler
    void lent.then((draft) => this.#begin(draft))
  }

  #begin(lent: Lent | undefined): void {
    const quick = new NgramDrafter()
    const sampler = this.#sampler
    if (this.#isClosed) lent?.release()
    else if (lent === undefined) this.#drafter = quick
    else this.#drafter = new BestDrafter(quick, new ModelDrafter(lent.shared, { ...lent, sampler }))
  }

  draft(...parameters: Parameters<Drafter['draft']>): ReturnType<Drafter['draft']> {
    return this.#drafter?.draft(...parameters) ?? []
  }

  resample(sampler: SamplerOptions): void {
    this.#sampler = sampler
    this.#drafter?.resample(sampler)
  }

  async close(): Promise<void> {
    this.#isClosed = true
    const drafter = this.#drafter
    this.#drafter = undefined
    if (drafter === undefined) return
    await drafter.close()
    const lent = await this.#lent
    lent?.release()
  }
}
