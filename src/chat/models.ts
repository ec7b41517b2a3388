/** Which models can be asked for, and under which names. */
import { similar } from '../models/index.ts'
import type { ModelCard } from './contract.ts'
import { AnswerError } from './errors.ts'

/** Longer ones are not worth comparing, or repeating. */
const LONGEST_NAME = 100

/** What a swarm says of a model. */
export interface KnownModel {
  /** Its id. */
  readonly model: string
  /** As its files call it: anything. */
  readonly name: string
  readonly blockCount: number
  readonly covered: boolean
  /** Blocks that nobody hosts, as [start, end). */
  readonly missing: readonly (readonly [number, number])[]
  readonly nodes: number
  readonly context?: number | undefined
}

export interface ModelNames {
  /** Of the swarm, as far as is known now. */
  known(): readonly KnownModel[]
  /** By id: names that this machine found them under itself, the best first. */
  names(): Promise<ReadonlyMap<string, readonly string[]>>
}

/** All models of the swarm under names that differ, those with a chain first. */
export async function cardsOf(source: ModelNames): Promise<ModelCard[]> {
  const names = await source.names()
  const taken = new Set([...names.values()].flat())
  const known = source.known().toSorted((a, b) => Number(b.covered) - Number(a.covered) || b.nodes - a.nodes)
  return known.map(({ model, name, covered, ...rest }) => {
    const trusted = names.get(model) ?? []
    const short = slug(name)
    const own = short === '' || taken.has(short) ? `${short || 'model'}-${model.slice(0, 8)}` : short
    taken.add(own)
    const [first = own, ...others] = trusted
    return {
      ...rest,
      id: model,
      name: first,
      aliases: [...others, ...(first === own ? [] : [own])],
      isCovered: covered
    }
  })
}

/** Throws an AnswerError UNKNOWN_MODEL that says what there is. */
export function cardNamed(cards: readonly ModelCard[], text: string): ModelCard {
  const called = (card: ModelCard): readonly string[] => [card.id, card.name, ...card.aliases]
  const found =
    cards.find((card) => called(card).includes(text)) ??
    cards.find((card) => called(card).some((name) => name.toLowerCase() === text.toLowerCase()))
  if (found !== undefined) return found
  const names = cards.flatMap(({ name, aliases }) => [name, ...aliases])
  const [like] = similar(text.slice(0, LONGEST_NAME), names)
  const advice =
    like !== undefined
      ? `Did you mean "${like}"?`
      : cards.length === 0
        ? 'Nobody hosts a model here yet: "shoal up --model NAME" on some machine does.'
        : `There are: ${cards
            .slice(0, 5)
            .map(({ name }) => name)
            .join(', ')}.`
  throw new AnswerError('UNKNOWN_MODEL', `No model is called "${text.slice(0, LONGEST_NAME)}". ${advice}`, {
    field: 'model'
  })
}

/** What people type: "Qwen3 8B Instruct" is qwen3-8b-instruct. */
function slug(name: string): string {
  return name
    .toLowerCase()
    .replace(/[^a-z0-9._:]+/g, '-')
    .replace(/^-+|-+$/g, '')
    .slice(0, 64)
}
