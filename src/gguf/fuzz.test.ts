// Files of strangers: whatever is done to a valid file, it is read or refused with a GgufError, at once, and nobody
// asks for more bytes than there are.
import { readFile } from 'node:fs/promises'
import fc from 'fast-check'
import { expect, it } from 'vitest'
import { GgufError, readGguf } from './index.ts'
import { bytesOf, tinyModel, watchedSource } from './testing.ts'

const RUNS = 3000

/** Offsets are relative: 0 to 1 of what is mutated, which is the header and a little more. */
type Mutation =
  | { readonly kind: 'flip'; readonly at: number; readonly bit: number }
  | { readonly kind: 'set'; readonly at: number; readonly value: bigint; readonly bytes: number }
  | { readonly kind: 'cut'; readonly at: number }
  | { readonly kind: 'insert'; readonly at: number; readonly count: number }

// Without the bias to small numbers, which would mostly break the magic number.
const at = fc.noBias(fc.nat(999_999)).map((millionths) => millionths / 1_000_000)
const HUGE = [
  0n,
  1n,
  0x7fffffffn,
  0xffffffffn,
  2n ** 32n,
  2n ** 40n,
  2n ** 53n,
  2n ** 63n - 1n,
  2n ** 63n,
  2n ** 64n - 1n
]

const mutation: fc.Arbitrary<Mutation> = fc.oneof(
  fc.record({ kind: fc.constant('flip' as const), at, bit: fc.nat(7) }),
  fc.record({
    kind: fc.constant('set' as const),
    at,
    value: fc.oneof(fc.constantFrom(...HUGE), fc.bigInt({ min: 0n, max: 20n })),
    bytes: fc.constantFrom(1, 4, 8)
  }),
  fc.record({ kind: fc.constant('cut' as const), at }),
  fc.record({ kind: fc.constant('insert' as const), at, count: fc.integer({ min: 1, max: 40 }) })
)

function mutate(file: Uint8Array, range: number, change: Mutation): Uint8Array {
  const place = Math.floor(change.at * Math.min(range, file.byteLength))
  if (change.kind === 'cut') return file.slice(0, place)
  if (change.kind === 'insert') {
    const longer = new Uint8Array(file.byteLength + change.count)
    longer.set(file.subarray(0, place))
    longer.set(file.subarray(place), place + change.count)
    return longer
  }
  const changed = file.slice()
  if (change.kind === 'flip' && place < changed.byteLength) changed[place]! ^= 1 << change.bit
  if (change.kind === 'set') {
    for (let index = 0; index < change.bytes && place + index < changed.byteLength; index++) {
      changed[place + index] = Number((change.value >> BigInt(8 * index)) & 0xffn)
    }
  }
  return changed
}

/** Reads a mutated file. Returns whether it was still a model. */
async function survives(file: Uint8Array): Promise<boolean> {
  const source = watchedSource(file)
  try {
    const model = await readGguf(source)
    for (const { offset, byteLength } of model.tensors.values()) {
      expect(offset + byteLength).toBeLessThanOrEqual(file.byteLength)
    }
    return true
  } catch (error) {
    expect(error).toBeInstanceOf(GgufError)
    return false
  } finally {
    expect(source.bytesRead).toBeLessThanOrEqual(file.byteLength)
  }
}

async function fuzz(
  file: Uint8Array,
  range: number,
  numRuns: number
): Promise<{ read: number; refused: number }> {
  const outcomes = { read: 0, refused: 0 }
  await fc.assert(
    fc.asyncProperty(fc.array(mutation, { minLength: 1, maxLength: 3 }), async (mutations) => {
      let mutated = file
      for (const change of mutations) mutated = mutate(mutated, range, change)
      outcomes[(await survives(mutated)) ? 'read' : 'refused'] += 1
    }),
    { seed: 1, numRuns }
  )
  return outcomes
}

it('a small header, mutated anywhere', async () => {
  const plan = tinyModel({ blocks: 1, rows: 3 })
  const { read, refused } = await fuzz(await bytesOf(plan), plan.header.byteLength, RUNS)
  // Else the mutations would test one side only.
  expect(Math.min(read, refused)).toBeGreaterThan(RUNS / 20)
})

it('a real header, mutated anywhere', async () => {
  const file = new Uint8Array(await readFile('models/demo.gguf'))
  const { read, refused } = await fuzz(file, 33_000, 200)
  expect(Math.min(read, refused)).toBeGreaterThan(10)
})

it('every count and length of a header, made huge', async () => {
  const plan = tinyModel({ blocks: 1, rows: 3 })
  const file = await bytesOf(plan)
  for (let place = 0; place < plan.header.byteLength - 8; place++) {
    for (const value of HUGE) {
      const changed = file.slice()
      new DataView(changed.buffer).setBigUint64(place, value, true)
      await survives(changed)
    }
  }
})

it('noise after the magic number', async () => {
  await fc.assert(
    fc.asyncProperty(fc.uint8Array({ maxLength: 200 }), async (noise) => {
      await survives(Uint8Array.of(0x47, 0x47, 0x55, 0x46, 3, 0, 0, 0, ...noise))
    }),
    { seed: 1, numRuns: 1000 }
  )
})
