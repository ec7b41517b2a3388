/** Those of the words that a mistyped one is likely to be, the likeliest first. */
export function similar(word: string, words: Iterable<string>, most = 3): string[] {
  const typed = word.toLowerCase()
  const ranked: { readonly word: string; readonly distance: number }[] = []
  for (const candidate of new Set(words)) {
    const meant = candidate.toLowerCase()
    const distance = meant.startsWith(typed) ? 1 : editDistance(typed, meant)
    // A third of the letters wrong is another word.
    if (distance <= Math.max(2, Math.floor(typed.length / 3))) ranked.push({ word: candidate, distance })
  }
  ranked.sort((a, b) => a.distance - b.distance || (a.word < b.word ? -1 : 1))
  return ranked.slice(0, most).map(({ word: candidate }) => candidate)
}

/**
 * How many letters to insert, drop, change, or swap with the one beside (Damerau's "optimal string alignment"): of
 * names, a few dozen letters long.
 */
export function editDistance(a: string, b: string): number {
  let before: number[] = []
  let above = Array.from({ length: b.length + 1 }, (_, column) => column)
  for (let row = 1; row <= a.length; row++) {
    const line = [row]
    for (let column = 1; column <= b.length; column++) {
      const isSame = a[row - 1] === b[column - 1]
      const isSwapped = a[row - 1] === b[column - 2] && a[row - 2] === b[column - 1]
      line[column] = Math.min(
        (above[column] as number) + 1,
        (line[column - 1] as number) + 1,
        (above[column - 1] as number) + (isSame ? 0 : 1),
        isSwapped ? (before[column - 2] as number) + 1 : Number.POSITIVE_INFINITY
      )
    }
    before = above
    above = line
  }
  return above[b.length] as number
}
