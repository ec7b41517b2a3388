import { describe, expect, test } from 'vitest'
import { CHOKE_MS, Choker } from './choker.ts'
import type { PieceLink } from './link.ts'

function link(isInterested = true): PieceLink {
  return { isInterested, downloads: { bytes: 0 } } as unknown as PieceLink
}

describe('a choker', () => {
  test('serves all who are interested while there are places', () => {
    const links = [link(), link(false), link()]
    expect([...new Choker(2).choose(links, 0)]).toEqual([links[0], links[2]])
  })

  test('gives everybody a turn', () => {
    const choker = new Choker(2)
    const links = Array.from({ length: 5 }, () => link())
    const served = new Set<PieceLink>()
    for (let now = 0; now < 90_000; now += CHOKE_MS) {
      const chosen = choker.choose(links, now)
      expect(chosen.size).toBe(2)
      for (const each of chosen) served.add(each)
    }
    expect(served.size).toBe(5)
  })

  test('keeps a place for a turn', () => {
    const choker = new Choker(1)
    const links = [link(), link()]
    const [first] = choker.choose(links, 0)
    expect(choker.choose(links, CHOKE_MS)).toEqual(new Set([first]))
  })

  test('keeps half of the places for who gave the most', () => {
    const choker = new Choker(2)
    const links = Array.from({ length: 4 }, () => link())
    const giver = links[3] as PieceLink
    giver.downloads.bytes = 1_000
    choker.measure(links)
    for (let now = 0; now < 90_000; now += CHOKE_MS) expect(choker.choose(links, now)).toContain(giver)
  })
})
