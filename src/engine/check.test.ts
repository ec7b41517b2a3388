// Whatever is asked of an engine, its process survives it and goes on as before.
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { openModel, writeSpan } from '../models/index.ts'
import type { Engine, RowGroup, SamplerSettings } from './contract.ts'
import { EngineError } from './errors.ts'
import { DEMO, runOne, startEngine } from './testing.ts'

const RUNS = 5000 // of each of the two engines
const SEED = 42
const SEQUENCES = 4
const WIDTH = 128 // of the demo model
const BLOCKS = 3 // of the middle span

/** Anything that TypeScript would not have let through, or only its eyes closed. */
const junk = fc.oneof(
  fc.integer(),
  fc.double(),
  fc.constantFrom<unknown>(undefined, null, true, '1', 'root', {}, [], [1], 2 ** 31, 2 ** 32, 2 ** 53, 1n),
  fc.constantFrom<unknown>(-0, Number.NaN, Infinity, -Infinity, new Float64Array(4), () => 1, Symbol('junk'))
)
/** Mostly right, so that what is wrong beside it is reached. */
const mostly = <T>(right: fc.Arbitrary<T>): fc.Arbitrary<T> =>
  fc.oneof({ arbitrary: right, weight: 12 }, { arbitrary: junk as fc.Arbitrary<T>, weight: 1 })

const sequence = mostly(fc.nat(SEQUENCES - 1))
const position = mostly(fc.oneof(fc.constant(0), fc.nat(600)))
const tokens = mostly(
  fc.oneof(
    fc.int32Array({ min: 0, max: 1023, minLength: 1, maxLength: 4 }),
    fc.int32Array({ maxLength: 4 }),
    fc.constantFrom(new Int32Array(0), new Int32Array(600), new Int32Array(100_000))
  )
)
const nasty = fc.constantFrom(0, 1, -1, 1e-45, 1e4, -1e10, 1e19, 3.4e38, -3.4e38)
const hiddenOf = (rows: number): fc.Arbitrary<Float32Array | undefined> =>
  mostly(
    fc.oneof(
      fc.tuple(nasty, nasty).map(([a, b]) => new Float32Array(rows * WIDTH).fill(a).fill(b, 0, WIDTH / 2)),
      fc.constant(new Float32Array(rows * WIDTH).fill(Number.NaN)),
      fc.nat(1000).map((length) => new Float32Array(length)),
      fc.constant(undefined)
    )
  )
const output = mostly(
  fc.constantFrom('none', 'hidden', 'sample-last', 'sample-all', 'logits-last', 'logits-all')
) as fc.Arbitrary<RowGroup['output']>

const group = tokens.chain((ids) =>
  fc.record(
    {
      sequence,
      position,
      tokens: fc.constant(ids),
      output,
      hidden: hiddenOf(ids instanceof Int32Array ? Math.min(ids.length, 600) : 1),
      leaveAfter: mostly(fc.nat(BLOCKS))
    },
    { requiredKeys: ['sequence', 'position', 'tokens', 'output'] }
  )
)
const groups = mostly(fc.array(mostly(group), { maxLength: 5 })) as fc.Arbitrary<RowGroup[]>

const small = mostly(fc.nat(600))
const fraction = mostly(fc.double({ min: 0, max: 1, noNaN: true }))
const settings = mostly(
  fc.record(
    {
      temperature: mostly(fc.constantFrom(0, 1e-45, 1e-4, 0.7, 100, 101)),
      seed: mostly(fc.nat()),
      topK: small,
      topP: fraction,
      minP: fraction,
      penaltyLastN: small,
      repeatPenalty: mostly(fc.constantFrom(1e-3, 1, 1e3)),
      frequencyPenalty: mostly(fc.constantFrom(-100, 100)),
      presencePenalty: mostly(fc.constantFrom(-100, 100)),
      dry: mostly(
        fc.record({
          multiplier: mostly(fc.constantFrom(0, 1, 100)),
          base: mostly(fc.constantFrom(1, 1.75, 100)),
          allowedLength: small,
          penaltyLastN: mostly(fc.constantFrom(-1, 0, 3, 512)),
          breakers: mostly(fc.array(mostly(fc.string({ maxLength: 3 })), { maxLength: 3 }))
        })
      ),
      logitBias: mostly(
        fc.array(
          fc.record({ token: mostly(fc.nat(1100)), bias: mostly(fc.constantFrom(-Infinity, -1e6, 1e6, 3)) }),
          { maxLength: 9 }
        )
      ),
      grammar: mostly(
        fc.constantFrom('root ::= [a-z]+', 'root ::= "no"', 'root ::= root', 'root ::= ""', 'x', '', '\0')
      ),
      grammarTriggers: mostly(fc.array(mostly(fc.string({ maxLength: 3 })), { maxLength: 3 })),
      generatedFrom: small,
      alternatives: mostly(fc.nat(21))
    },
    { requiredKeys: ['temperature', 'seed'] }
  )
) as fc.Arbitrary<SamplerSettings>

/** A saved state with some bytes changed, or cut off. */
const damage = fc.record({
  bytes: fc.array(fc.tuple(fc.nat(4000), fc.nat(255)), { maxLength: 4 }),
  length: fc.oneof(fc.constant(1e9), fc.nat(4000))
})

type Call = (engine: Engine, saved: Uint8Array) => Promise<unknown>

const call: fc.Arbitrary<Call> = fc.oneof(
  {
    arbitrary: groups.map(
      (all): Call =>
        (engine) =>
          engine.run(all)
    ),
    weight: 6
  },
  {
    arbitrary: fc.tuple(sequence, settings).map(
      ([a, b]): Call =>
        (engine) =>
          engine.setSampler(a, b)
    ),
    weight: 3
  },
  fc.tuple(sequence, small).map(
    ([a, b]): Call =>
      (engine) =>
        engine.truncate(a, b)
  ),
  fc.tuple(sequence, sequence, small).map(
    ([a, b, c]): Call =>
      (engine) =>
        engine.copy(a, b, c)
  ),
  sequence.map(
    (a): Call =>
      (engine) =>
        engine.drop(a)
  ),
  sequence.map(
    (a): Call =>
      (engine) =>
        engine.save(a)
  ),
  fc.tuple(sequence, damage, tokens).map(
    ([a, { bytes, length }, ids]): Call =>
      (engine, saved) => {
        const state = saved.slice(0, length)
        for (const [at, value] of bytes) state[at % state.length] = value
        return engine.restore(a, state, ids)
      }
  ),
  fc.tuple(sequence, mostly(fc.uint8Array()), tokens).map(
    ([a, b, c]): Call =>
      (engine) =>
        engine.restore(a, b, c)
  ),
  mostly(fc.string()).map(
    (a): Call =>
      (engine) =>
        engine.tokenize(a)
  ),
  tokens.map(
    (a): Call =>
      (engine) =>
        engine.pieces(a)
  )
)

/** Runs many calls, and compares what the engine answers before and after. */
async function survives(engine: Engine, probe: RowGroup): Promise<void> {
  const { process } = engine.description
  const deaths: string[] = []
  engine.onStateChange((state, detail) => deaths.push(`${state} ${detail}`))
  const before = await runOne(engine, probe)
  const saved = await engine.save(probe.sequence)
  const property = fc.asyncProperty(call, async (ask) => {
    try {
      await ask(engine, saved)
    } catch (error) {
      if (!(error instanceof EngineError)) throw error
      if (error.code === 'DIED') throw error
    }
  })
  await fc.assert(property, { numRuns: RUNS, seed: SEED, endOnFailure: true })
  for (let index = 0; index < SEQUENCES; index++) await engine.drop(index)
  expect(await runOne(engine, probe)).toEqual(before)
  expect(deaths).toEqual([])
  expect(engine.description.process).toBe(process)
}

describe('bad input', () => {
  let folder: string

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'shoal-check-'))
  })

  afterAll(() => rm(folder, { recursive: true }))

  test('a whole model survives it', async () => {
    const engine = await startEngine({ hiddenStates: true })
    await survives(engine, { sequence: 0, position: 0, tokens: Int32Array.of(5, 6, 7), output: 'logits-all' })
    await engine.stop()
  })

  test('a span in the middle survives it', async () => {
    const model = await openModel(DEMO)
    const { files } = await writeSpan(model, { start: 2, end: 2 + BLOCKS }, folder)
    await model.close()
    const engine = await startEngine({ files })
    const hidden = new Float32Array(3 * WIDTH).map((_, index) => Math.sin(index))
    const probe = {
      sequence: 0,
      position: 0,
      tokens: Int32Array.of(5, 6, 7),
      hidden,
      output: 'hidden'
    } as const
    await survives(engine, probe)
    await engine.stop()
  })
})
