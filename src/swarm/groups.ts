const NOBODY: ReadonlySet<never> = new Set()

/** Sets by key, each in the order in which its members came; there are no empty ones. */
export class Groups<K, V> {
  readonly #sets = new Map<K, Set<V>>()

  add(key: K, value: V): void {
    const set = this.#sets.get(key)
    if (set === undefined) this.#sets.set(key, new Set([value]))
    else set.add(value)
  }

  delete(key: K, value: V): void {
    const set = this.#sets.get(key)
    if (set?.delete(value) && set.size === 0) this.#sets.delete(key)
  }

  get(key: K): ReadonlySet<V> {
    return this.#sets.get(key) ?? NOBODY
  }

  sizeOf(key: K): number {
    return this.#sets.get(key)?.size ?? 0
  }

  keys(): IterableIterator<K> {
    return this.#sets.keys()
  }

  values(): IterableIterator<ReadonlySet<V>> {
    return this.#sets.values()
  }
}
