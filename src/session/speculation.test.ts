// Whatever is guessed, and whenever anything comes: the text is what it is without guesses.
import * as fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { randomOf } from '../../test/models/random.ts'
import { openSession, type Session } from './index.ts'
import { defaultSampler } from './sampler.ts'
import { CHAIN, FakeDrafter, FakeTail, textAfter } from './speculation-testing.ts'
import { all } from './testing.ts'

const PROMPT = [3, 1, 4, 1, 5]
const TURNS = 3
/** More than any answer here takes. */
const MOST_STEPS = 4_000

async function open(tail: FakeTail, drafter: FakeDrafter, reserve = 400): Promise<Session> {
  const { host } = tail
  return openSession({ host }, { chain: CHAIN, sampler: defaultSampler(), reserve, drafter, waitMs: 0 })
}

const settled = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))

describe('the text is the same', () => {
  const plans = fc.record({
    seed: fc.string(),
    share: fc.constantFrom(0, 0.3, 0.7, 0.95, 1),
    isSlow: fc.boolean(),
    drawsOn: fc.boolean(),
    maxTokens: fc.integer({ min: 1, max: 60 }),
    hasEnd: fc.boolean(),
    isHostile: fc.boolean(),
    isLossy: fc.boolean(),
    reserve: fc.constantFrom(6, 20, 400)
  })

  test('with any drafter, any delays, and stages that repeat themselves or ask again, or lose frames', async () => {
    await fc.assert(
      fc.asyncProperty(plans, async (plan) => {
        const random = randomOf(plan.seed)
        const tail = new FakeTail(plan.drawsOn)
        const drafter = new FakeDrafter(random, plan.share, plan.isSlow)
        const session = await open(tail, drafter, plan.reserve)
        let conversation = PROMPT
        for (let turn = 0; turn < TURNS; turn++) {
          const expected = textAfter(conversation, plan.maxTokens)
          const end = plan.hasEnd ? (expected[Math.floor(expected.length / 2)] as number) : 0
          const first = expected.indexOf(end)
          const text = first < 0 ? expected : expected.slice(0, first + 1)
          const prompt = Int32Array.from(conversation)
          const answer = all(
            session.generate(prompt, { maxTokens: plan.maxTokens, endTokens: new Set([end]), waitMs: 0 })
          )
          let isOver = false
          const over = answer.finally(() => {
            isOver = true
          })
          over.catch(() => {})
          for (let step = 0; step < MOST_STEPS && !isOver; step++) {
            await settled()
            act(tail, drafter, random, plan)
          }
          expect(isOver).toBe(true)
          expect(await over).toEqual(text)
          conversation = [...conversation, ...text, 1 + turn]
        }
        expect(drafter.mostCalls).toBeLessThanOrEqual(1)
        await session.close()
        drafter.answer()
        expect(drafter.isClosed).toBe(true)
      }),
      { numRuns: 300, seed: 8 }
    )
  }, 60_000)
})

/** Something that may happen next does. */
function act(
  tail: FakeTail,
  drafter: FakeDrafter,
  random: () => number,
  { isHostile, isLossy }: { readonly isHostile: boolean; readonly isLossy: boolean }
): void {
  if (isLossy && tail.canLose && random() < 0.3) tail.lose()
  const chance = random()
  if (isHostile && chance < 0.02) tail.need(Math.floor(random() * (tail.length + 1)))
  else if (isHostile && chance < 0.1) {
    const epoch = tail.epoch + Math.floor(random() * 3) - 1
    const tokens = Array.from({ length: 1 + Math.floor(random() * 20) }, () => 1 + Math.floor(random() * 7))
    // Beyond what was asked for, or of another epoch: what it may draw is its own affair.
    tail.say({ type: 'tokens', epoch: Math.max(0, epoch), position: tail.length + 300, tokens })
    return
  }
  const can = [
    ...(tail.hasFrame ? [() => tail.compute()] : []),
    ...(tail.hasTokens ? [() => tail.tell()] : []),
    ...(drafter.isAsked ? [() => drafter.answer()] : [])
  ]
  can[Math.floor(random() * can.length)]?.()
}
