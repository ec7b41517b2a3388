import { expect, test } from 'vitest'
import { FILE_TYPES } from './file-types.ts'
import { loadLlama } from './llama/library.ts'

/** llama.cpp has a name and a number for NVFP4 files, but does not quantize to them. */
const NOT_QUANTIZED_TO = [39]
/** Longer than the enum is ever going to be. */
const NUMBERS = Array.from({ length: 256 }, (_, number) => number)

/** As llama-quantize calls it: `Q4_K - Medium` is Q4_K_M, `IQ3_S mix - 3.66 bpw` IQ3_M. */
function shortName(name: string): string {
  if (name.startsWith('Q2_K - Medium')) return 'Q2_K'
  const short = name.replace(/ - (Small|Medium|Large)$/, (_, size: string) => `_${size[0]}`)
  return short
    .replace(/ - [\d.]+ bpw.*$/, '')
    .replace('all ', '')
    .replace('IQ3_S mix', 'IQ3_M')
    .replace(' MoE', '_MOE')
}

test('the types are those that the library knows, by their names and numbers', () => {
  const { llama_ftype_name: nameOf } = loadLlama({ gpu: false })
  const known = NUMBERS.filter((number) => !(nameOf(number) as string).startsWith('unknown'))
  const quantizable = known.filter((number) => !NOT_QUANTIZED_TO.includes(number))
  const named = quantizable.map((number) => [shortName(nameOf(number) as string), number])
  expect(Object.fromEntries(named)).toEqual(FILE_TYPES)
})
