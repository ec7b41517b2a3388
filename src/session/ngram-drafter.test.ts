import { describe, expect, test } from 'vitest'
import { randomOf } from '../../test/models/random.ts'
import { NgramDrafter } from './ngram-drafter.ts'

const NEVER = new AbortController().signal

function draft(drafter: NgramDrafter, ids: readonly number[], most = 4, certain = ids.length) {
  return drafter.draft(ids, most, NEVER, certain)
}

function tokens(...call: Parameters<typeof draft>): number[] {
  return draft(...call).map(({ token }) => token)
}

describe('what came next before', () => {
  test.each([
    ['after the same id', [1, 2, 3, 9, 1], [2, 3, 9, 1]],
    ['after the longest match, not the latest', [1, 2, 3, 4, 9, 7, 3, 5, 8, 1, 2, 3], [4, 9, 7, 3]],
    ['and again, where a text repeats itself', [6, 7, 6, 7], [6, 7, 6, 7]],
    ['most often, and not the last time', [1, 2, 8, 1, 2, 9, 1, 2, 8, 1, 3, 7, 1], [2, 8, 1, 3]]
  ])('%s', (_, ids, expected) => {
    expect(tokens(new NgramDrafter(), ids)).toEqual(expected)
  })

  test('is not guessed where there was nothing of the kind', () => {
    expect(tokens(new NgramDrafter(), [1, 2, 3])).toEqual([])
    expect(tokens(new NgramDrafter(), [])).toEqual([])
  })

  test('goes on behind guesses, which are nothing that it learns', () => {
    const drafter = new NgramDrafter()
    expect(tokens(drafter, [1, 2, 3, 4, 9, 1, 2], 4, 6)).toEqual([3, 4, 9, 1])
    expect(tokens(drafter, [1, 2, 3, 4, 9, 1, 5, 5, 5], 1, 7)).toEqual([])
  })

  test('is of this conversation, where it was taken back', () => {
    const drafter = new NgramDrafter()
    expect(tokens(drafter, [1, 2, 3, 4, 1], 1)).toEqual([2])
    expect(tokens(drafter, [1, 5, 3, 4, 1], 1)).toEqual([5])
  })
})

describe('how likely it is', () => {
  test('is learned from how often it was right', () => {
    const random = randomOf('ngrams')
    for (const share of [0.2, 0.9]) {
      const drafter = new NgramDrafter()
      const ids = [0]
      let claimed = 0
      let right = 0
      let all = 0
      // The next id mostly follows from the one before, or does not.
      while (ids.length < 1_500) {
        const last = ids.at(-1) as number
        ids.push(random() < share ? (last + 1) % 20 : Math.floor(random() * 20))
        const [guess] = draft(drafter, ids.slice(0, -1), 1)
        if (guess === undefined || ids.length < 700) continue
        all += 1
        claimed += guess.probability
        if (guess.token === ids.at(-1)) right += 1
      }
      expect(Math.abs(claimed / all - right / all)).toBeLessThan(0.1)
    }
  })

  test('is more for longer matches', () => {
    const [short] = draft(new NgramDrafter(), [1, 2, 9, 2])
    const [long] = draft(new NgramDrafter(), [1, 2, 3, 4, 5, 6, 7, 8, 9, 1, 2, 3, 4, 5, 6, 7, 8])
    expect(short?.probability).toBeLessThan(long?.probability as number)
  })
})

test('a long conversation is drafted for in no time', () => {
  const drafter = new NgramDrafter()
  const random = randomOf('long')
  const ids = Array.from({ length: 50_000 }, () => Math.floor(random() * 500))
  draft(drafter, ids)
  const started = performance.now()
  for (let step = 0; step < 100; step++) {
    ids.push(Math.floor(random() * 500))
    draft(drafter, ids, 16)
  }
  expect((performance.now() - started) / 100).toBeLessThan(20) // 0.2 on an idle machine
})
