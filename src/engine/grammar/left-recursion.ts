/** Whether a rule can come to itself again without a character in between: matching it would never end. */

type Rules = readonly (readonly (readonly number[])[])[]

/** The index of such a rule. Linear in the grammar's size, and without calls within calls, since strangers write it. */
export function findLeftRecursion(rules: Rules): number | undefined {
  const canBeEmpty = findEmpty(rules)
  const leftmost = rules.map((alternatives) => {
    const found = new Set<number>()
    for (const sequence of alternatives) {
      for (const symbol of sequence) {
        if (symbol > 0) found.add(symbol - 1)
        if (symbol < 0 || !canBeEmpty.has(symbol - 1)) break
      }
    }
    return [...found]
  })
  return findCycle(leftmost)
}

/** Rules that match nothing at all, too. */
function findEmpty(rules: Rules): ReadonlySet<number> {
  const empty = new Set<number>()
  const todo: number[] = []
  const isEmpty = (rule: number): void => {
    if (empty.has(rule)) return
    empty.add(rule)
    todo.push(rule)
  }
  /** Per rule, the sequences of rules that it is in. */
  const uses: { rule: number; left: number }[][] = rules.map(() => [])
  for (const [rule, alternatives] of rules.entries()) {
    for (const sequence of alternatives) {
      if (sequence.some((symbol) => symbol < 0)) continue
      const use = { rule, left: sequence.length }
      if (use.left === 0) isEmpty(rule)
      for (const symbol of sequence) uses[symbol - 1]?.push(use)
    }
  }
  for (let rule = todo.pop(); rule !== undefined; rule = todo.pop()) {
    for (const use of uses[rule] ?? []) {
      use.left -= 1
      if (use.left === 0) isEmpty(use.rule)
    }
  }
  return empty
}

function findCycle(edges: readonly (readonly number[])[]): number | undefined {
  const state = new Uint8Array(edges.length) // 1: on the way, 2: done
  for (let start = 0; start < edges.length; start++) {
    if (state[start] !== 0) continue
    const way = [{ node: start, next: 0 }]
    state[start] = 1
    for (let top = way.at(-1); top !== undefined; top = way.at(-1)) {
      const node = edges[top.node]?.[top.next++]
      if (node === undefined) {
        state[top.node] = 2
        way.pop()
      } else if (state[node] === 1) return node
      else if (state[node] === 0) {
        state[node] = 1
        way.push({ node, next: 0 })
      }
    }
  }
  return undefined
}
