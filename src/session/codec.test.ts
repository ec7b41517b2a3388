import { expect, test } from 'vitest'
import { chooseCodec } from './codec.ts'

const profile = { kvTypeK: 'f16', kvTypeV: 'f16', flashAttention: true, codec: 'f32', longContext: false }
const ALL = { profile, codecs: ['f32', 'f16', 'bf16', 'q8'] }
const OLD = { profile }
const SOME = { profile, codecs: ['f32', 'f16', 'some-other'] }

test.each([
  ['auto', [], [ALL, ALL], 'f32'],
  ['auto', ['f16', 'q8'], [ALL, ALL], 'q8'],
  ['auto', ['bf16', 'f16'], [ALL, ALL], 'f16'],
  ['auto', ['f16', 'q8'], [ALL, SOME], 'f16'],
  ['auto', ['bf16', 'q8', 'some-other'], [ALL, SOME], 'f32'],
  ['auto', ['q8'], [ALL, OLD], 'f32'],
  ['q8', [], [ALL, ALL], 'q8'],
  ['q8', ['f16'], [ALL, SOME], 'f32'],
  ['f32', ['q8'], [ALL], 'f32'],
  ['f16', [], [OLD, OLD], 'f32']
] as const)('%s of the certified %j', (asked, certified, stages, chosen) => {
  expect(chooseCodec(asked, certified, stages)).toBe(chosen)
})
