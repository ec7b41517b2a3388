import { fileURLToPath } from 'node:url'
import { ShoalError } from '../../common/index.ts'
import { type Catalogue, type CatalogueSize, catalogue as embedded } from './catalogue.ts'
import { type HubName, isHubName, parseHubName } from './hub-name.ts'
import { similar } from './similar.ts'

/** What somebody calls a model. */
export type ModelName =
  | { readonly kind: 'path'; readonly path: string }
  /** A manifest's hash: 64 hexadecimal digits. */
  | { readonly kind: 'id'; readonly id: string }
  | { readonly kind: 'hub'; readonly hub: HubName }
  | { readonly kind: 'url'; readonly url: string }
  | CatalogueName

export interface CatalogueName {
  readonly kind: 'catalogue'
  /** In full: `llama3.2:3b-q4_k_m`. */
  readonly name: string
  readonly size: CatalogueSize
  /** As in the size's `quants`. */
  readonly quant: string
  /** Where its files are. */
  readonly from: { readonly hub: HubName } | { readonly path: string }
}

/** Where the embedded models are. */
const FOLDER = new URL('../../../models/', import.meta.url)
const LATEST = 'latest'
const LONGEST_NAME = 2_048
const HUB_LIKE = /^[\w.-]+\/[\w.-]+(?::[\w.-]+)?$/

/**
 * What a name means: a path (`./x.gguf`, anything that ends in `.gguf`), an id, `hf:...`, an http(s) address, or
 * `name:tag` of the catalogue, where a tag is a size, a quantization or both (`3b`, `q8_0`, `3b-q8_0`). Nothing is
 * looked at or asked. Throws a ShoalError NAME that says what is like it.
 */
export function resolveName(text: string, init: { readonly catalogue?: Catalogue } = {}): ModelName {
  const name = text.trim()
  if (name === '' || name.length > LONGEST_NAME) throw unknown(name, 'Say which model.')
  if (isHubName(name)) return { kind: 'hub', hub: parseHubName(name) }
  if (/^https?:\/\//i.test(name)) return { kind: 'url', url: name }
  if (/^[0-9a-f]{64}$/i.test(name)) return { kind: 'id', id: name.toLowerCase() }
  if (/\.gguf$/i.test(name) || /^(?:[./~\\]|[a-z]:[\\/])/i.test(name)) return { kind: 'path', path: name }
  return fromCatalogue(name, init.catalogue ?? embedded())
}

function fromCatalogue(text: string, { models }: Catalogue): CatalogueName {
  const [, word = '', tag] = /^([^:]*)(?::(.*))?$/s.exec(text.toLowerCase()) ?? []
  const model = Object.hasOwn(models, word) ? models[word] : undefined
  if (model === undefined) {
    if (HUB_LIKE.test(text)) throw unknown(text, `On the hub it is hf:${text}.`)
    const names = similar(word, Object.keys(models))
    const close = names.length > 0 ? names : similar(text, namesWithSizes(models))
    const all = Object.keys(models).join(', ')
    throw unknown(text, close.length > 0 ? `Did you mean ${either(close)}?` : `There are ${all}.`)
  }
  const { size, quant } = tagOf(tag ?? LATEST, model.default, model.sizes) ?? {}
  const found = size === undefined ? undefined : model.sizes[size]
  if (size === undefined || quant === undefined || found === undefined) {
    const tags = tagsOf(model.sizes)
    const close = similar(tag ?? '', tags)
    const sizes = Object.entries(model.sizes).map(([each, { quants }]) => {
      return `${each} (${Object.keys(quants).join(', ')})`
    })
    const hint = close.length > 0 ? `Did you mean ${either(close.map((each) => `${word}:${each}`))}? ` : ''
    throw unknown(text, `${hint}${model.family} comes in ${sizes.join(', ')}.`)
  }
  return {
    ...{ kind: 'catalogue', name: `${word}:${size}-${quant.toLowerCase()}`, size: found, quant },
    from: placeOf(found, quant)
  }
}

function namesWithSizes(models: Catalogue['models']): string[] {
  return Object.entries(models).flatMap(([name, { sizes }]) =>
    Object.keys(sizes).map((size) => `${name}:${size}`)
  )
}

/** Which size and quantization: the size's name may have dashes, too. */
function tagOf(
  tag: string,
  standard: string,
  sizes: Readonly<Record<string, CatalogueSize>>
): { size: string; quant: string } | undefined {
  for (const [size, { quants }] of Object.entries(sizes)) {
    for (const [index, quant] of Object.keys(quants).entries()) {
      const isDefault = index === 0 && (tag === size || (tag === LATEST && size === standard))
      const isNamed = tag === `${size}-${quant.toLowerCase()}`
      if (isDefault || isNamed || (size === standard && tag === quant.toLowerCase())) return { size, quant }
    }
  }
  return undefined
}

function tagsOf(sizes: Readonly<Record<string, CatalogueSize>>): string[] {
  return Object.entries(sizes).flatMap(([size, { quants }]) => {
    const words = Object.keys(quants).map((quant) => quant.toLowerCase())
    return [size, ...words, ...words.map((quant) => `${size}-${quant}`)]
  })
}

function placeOf({ repository, file }: CatalogueSize, quant: string): CatalogueName['from'] {
  if (file !== undefined) return { path: fileURLToPath(new URL(file, FOLDER)) }
  return { hub: { repository: repository ?? '', revision: 'main', quant, file: undefined } }
}

function either(words: readonly string[]): string {
  return words.join(' or ')
}

function unknown(text: string, hint: string): ShoalError {
  const others = 'Others go by hf:user/repo:QUANT, by the path or address of a GGUF, or by their id.'
  return new ShoalError('NAME', `No model is called "${text.slice(0, 200)}". ${hint} ${others}`)
}
