import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { ShoalError } from '../../common/index.ts'
import { type ImportanceMatrix, importanceWeights, readImportance, writeImportance } from './importance.ts'

const SEED = 20_261_123
const MATRIX: ImportanceMatrix = {
  datasets: ['a text.txt'],
  chunks: 7,
  chunkLength: 512,
  entries: [
    { name: 'blk.0.attn_q.weight', sums: Float32Array.of(8, 2, 0), counts: Float32Array.of(4) },
    { name: 'blk.0.ffn_up_exps.weight', sums: Float32Array.of(9, 6, 1, 1), counts: Float32Array.of(3, 0) }
  ]
}

let folder: string
let path: string

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'shoal-importance-'))
  path = join(folder, 'matrix')
})

afterAll(() => rm(folder, { recursive: true }))

/** The format before GGUF. */
function legacy(
  entries: readonly [string, number, number[]][],
  trailer: Uint8Array = new Uint8Array()
): Buffer {
  const i32 = (value: number): Buffer => {
    const bytes = Buffer.alloc(4)
    bytes.writeInt32LE(value)
    return bytes
  }
  const parts = entries.flatMap(([name, calls, values]) => [
    ...[i32(name.length), Buffer.from(name), i32(calls), i32(values.length)],
    Buffer.from(Float32Array.from(values).buffer)
  ])
  return Buffer.concat([i32(entries.length), ...parts, trailer])
}

describe('importance matrices', () => {
  test('are read as they were written', async () => {
    await writeImportance(path, MATRIX)
    expect(await readImportance(path)).toEqual(MATRIX)
  })

  test('give mean squares, and 1 for experts that nothing reached', () => {
    const [dense, experts] = MATRIX.entries.map(importanceWeights)
    expect([...(dense as Float32Array)]).toEqual([2, 0.5, 0])
    expect([...(experts as Float32Array)]).toEqual([3, 2, 1, 1])
  })

  test('of the older format are read, with and without the text’s name', async () => {
    const entries: [string, number, number[]][] = [
      ['blk.0.attn_q.weight', 2, [4, 6]],
      ['output.weight', 0, [5]]
    ]
    const trailer = Buffer.concat([Buffer.from(Int32Array.of(9, 5).buffer), Buffer.from('a.txt')])
    await writeFile(path, legacy(entries, trailer))
    const matrix = await readImportance(path)
    expect(matrix).toMatchObject({ chunks: 9, datasets: ['a.txt'] })
    expect(matrix.entries.map(importanceWeights)).toEqual([Float32Array.of(2, 3), Float32Array.of(5)])
    await writeFile(path, legacy(entries))
    expect(await readImportance(path)).toMatchObject({ chunks: 0, datasets: [] })
  })

  test('that are broken are refused by name, however they are broken', async () => {
    await writeImportance(path, MATRIX)
    const whole = await readFile(path)
    const older = legacy([['blk.0.attn_q.weight', 2, [4, 6]]])
    const damaged = fc
      .tuple(fc.constantFrom(whole, older), fc.nat(), fc.nat(255), fc.boolean())
      .map(([bytes, at, value, isCut]) => {
        const copy = Buffer.from(bytes)
        copy[at % copy.length] = value
        return isCut ? copy.subarray(0, at % copy.length) : copy
      })
    const property = fc.asyncProperty(damaged, async (bytes) => {
      await writeFile(path, bytes)
      const error = await readImportance(path).then(
        () => undefined,
        (reason: unknown) => reason
      )
      if (error === undefined) return
      expect(error).toBeInstanceOf(ShoalError)
      expect((error as Error).message).toContain(path)
    })
    await fc.assert(property, { seed: SEED, numRuns: 300 })
    await expect(readImportance(join(folder, 'none'))).rejects.toThrow('there is no such file')
  })

  test('with numbers that are no sums of squares are refused', async () => {
    await writeFile(path, legacy([['blk.0.attn_q.weight', 1, []]]))
    await expect(readImportance(path)).rejects.toThrow('0 sums')
    for (const value of [Number.NaN, Number.POSITIVE_INFINITY, -1]) {
      await writeFile(path, legacy([['blk.0.attn_q.weight', 1, [1, value]]]))
      await expect(readImportance(path)).rejects.toThrow('squares')
    }
  })
})
