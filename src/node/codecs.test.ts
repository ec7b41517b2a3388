import { expect, test } from 'vitest'
import type { Listing } from '../models/index.ts'
import { place } from '../session/testing.ts'
import type { ChainHop } from '../swarm/index.ts'
import { Codecs } from './codecs.ts'

const speaking = (...codecs: string[]): ChainHop => {
  const hop = place('a', 0, 8)
  return { ...hop, stage: { ...hop.stage, codecs } }
}
const ALL = speaking('f32', 'f16', 'bf16', 'q8')
const ID = ALL.stage.model

function codecs(
  asked: 'auto' | 'q8' | 'f32',
  listed: readonly string[] | undefined,
  names: string[] = []
): Codecs {
  const fields = { model: ID, name: 'm', licence: '', sources: [], publisher: undefined }
  const listing: Listing | undefined = listed && { ...fields, codecs: listed }
  return new Codecs(
    { library: { listing: async () => listing }, names: async () => new Map([[ID, names]]) },
    asked
  )
}

test.each([
  ['what the listing has', ['f16'], [], 'f16'],
  ['nothing that nobody has certified', undefined, ['hf:a/b:Q8_0', 'no such name'], 'f32'],
  ['what the catalogue has of a model that comes with Shoal', undefined, ['demo'], 'q8'],
  ['the smaller one of both', ['bf16'], ['demo'], 'q8'],
  ['what this version does not know', ['q2'], [], 'f32']
] as const)('auto takes %s', async (_, listed, names, codec) => {
  expect(await codecs('auto', listed, [...names]).codecFor([ALL])).toBe(codec)
})

test('what was named is taken, where all stages speak it', async () => {
  expect(await codecs('q8', undefined).codecFor([ALL])).toBe('q8')
  expect(await codecs('q8', undefined).codecFor([ALL, speaking('f32')])).toBe('f32')
  expect(await codecs('f32', ['q8']).codecFor([ALL])).toBe('f32')
  expect(await codecs('q8', undefined).codecFor([])).toBe('f32')
})
