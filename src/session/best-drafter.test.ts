import { expect, test } from 'vitest'
import { BestDrafter } from './best-drafter.ts'
import type { Drafter, Guess } from './drafter.ts'
import { defaultSampler } from './sampler.ts'

const NEVER = new AbortController().signal

class Source implements Drafter {
  readonly #guess: (position: number) => Guess | undefined
  readonly #isSlow: boolean
  calls = 0
  resampled = 0
  isClosed = false

  constructor(guess: (position: number) => Guess | undefined, isSlow: boolean) {
    this.#guess = guess
    this.#isSlow = isSlow
  }

  draft(ids: readonly number[], most: number): readonly Guess[] | Promise<readonly Guess[]> {
    this.calls += 1
    const guesses: Guess[] = []
    for (let index = 0; index < most; index++) {
      const guess = this.#guess(ids.length + index)
      if (guess === undefined) break
      guesses.push(guess)
    }
    return this.#isSlow ? Promise.resolve(guesses) : guesses
  }

  resample(): void {
    this.resampled += 1
  }

  async close(): Promise<void> {
    this.isClosed = true
  }
}

const always = (token: number, probability: number) => (): Guess => ({ token, probability })

test('a quick source that is likely right is not waited with', () => {
  const slow = new Source(always(2, 0.9), true)
  const drafter = new BestDrafter(new Source(always(1, 0.95), false), slow)
  expect(drafter.draft([7], 3, NEVER, 1)).toMatchObject([{ token: 1 }, { token: 1 }, { token: 1 }])
  expect(slow.calls).toBe(0)
})

test('of both the likelier one is taken, place by place, and what both say is likelier still', async () => {
  const quick = (position: number): Guess | undefined =>
    [
      undefined,
      { token: 3, probability: 0.3 },
      { token: 2, probability: 0.3 },
      { token: 9, probability: 0.5 }
    ][position]
  const slow = (): Guess => ({ token: 2, probability: 0.4 })
  const drafter = new BestDrafter(new Source(quick, false), new Source(slow, true))
  const guesses = await drafter.draft([7], 5, NEVER, 1)
  // What the slow source says after a place where it was not followed, it says of another text.
  expect(guesses.map(({ token }) => token)).toEqual([2, 2, 9])
  expect(guesses[1]?.probability).toBeCloseTo(1 - 0.7 * 0.6)
})

test('a source that is wrong is believed less and less', async () => {
  const quick = new Source(always(1, 0.9), false)
  const slow = new Source(always(2, 0.8), true)
  const drafter = new BestDrafter(quick, slow)
  const ids = [7]
  const first = await drafter.draft(ids, 1, NEVER, 1)
  expect(first).toMatchObject([{ token: 1 }])
  for (let turn = 0; turn < 20; turn++) {
    ids.push(2) // the slow one is right
    await drafter.draft(ids, 1, NEVER, ids.length)
  }
  expect(await drafter.draft(ids, 2, NEVER, ids.length)).toMatchObject([{ token: 2 }, { token: 2 }])
})

test('where the slow source has no idea, the quick one is heard, however unlikely', async () => {
  const drafter = new BestDrafter(new Source(always(1, 0.1), false), new Source(() => undefined, true))
  expect(await drafter.draft([7], 2, NEVER, 1)).toMatchObject([{ token: 1 }, { token: 1 }])
})

test('both are told how is drawn, and closed', async () => {
  const sources = [new Source(always(1, 0.1), false), new Source(always(1, 0.1), true)] as const
  const drafter = new BestDrafter(...sources)
  drafter.resample(defaultSampler())
  await drafter.close()
  expect(sources.map(({ resampled, isClosed }) => [resampled, isClosed])).toEqual([
    [1, true],
    [1, true]
  ])
})
