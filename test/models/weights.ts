/** Weights with which activations neither vanish nor explode, and which let every part of a model matter. */
import { gaussian, randomOf, randomTensor } from './random.ts'

/** Times 1/sqrt(inputs), the standard deviation that keeps a matrix's outputs as large as its inputs. */
const GAINS: readonly (readonly [pattern: RegExp, gain: number])[] = [
  [/^token_embd\./, 2], // seen beside what the blocks add, and what they add beside it where the input is scaled
  [/^output\./, 4], // logits far enough apart for a greedy choice to be stable
  [/ffn_gate_inp\.weight/, 4], // a router that decides
  [/^/, 1]
]

/** The bytes of a tensor; the same for the same arguments. */
export function tensorData(name: string, dims: readonly number[], type: string, seed: string): Uint8Array {
  const random = randomOf(`${seed}/${name}`)
  if (dims.length > 1 && !name.endsWith('.bias'))
    return randomTensor(type, dims, deviationOf(name, dims), random)
  const count = dims.reduce((product, dim) => product * dim, 1)
  const values = Float32Array.from({ length: count }, (_, index) => {
    if (name.startsWith('rope_')) return ropeFactor(name, index / count)
    return name.includes('norm.') ? 1 + gaussian(random) / 10 : gaussian(random) / 5
  })
  return new Uint8Array(values.buffer)
}

export function deviationOf(name: string, [inputs = 1]: readonly number[]): number {
  const gain = GAINS.find(([pattern]) => pattern.test(name))?.[1] ?? 1
  return gain / Math.sqrt(inputs)
}

/** Slow frequencies are slowed further, as in models with a stretched context. `fraction` is in [0, 1). */
function ropeFactor(name: string, fraction: number): number {
  return name.includes('short') ? 1 + fraction / 4 : 1 + 7 * fraction
}
