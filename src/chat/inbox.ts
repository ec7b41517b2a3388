/** What comes from several places, read by one: values in order, then an end or an error. */
export class Inbox<T> implements AsyncIterable<T> {
  readonly #values: T[] = []
  #ended: { readonly error?: unknown } | undefined
  #wake = Promise.withResolvers<void>()

  push(value: T): void {
    this.#values.push(value)
    this.#wake.resolve()
  }

  end(failure: { readonly error?: unknown } = {}): void {
    this.#ended ??= failure
    this.#wake.resolve()
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<T, void> {
    for (;;) {
      for (let value = this.#values.shift(); value !== undefined; value = this.#values.shift()) yield value
      if (this.#ended !== undefined) {
        if ('error' in this.#ended) throw this.#ended.error
        return
      }
      await this.#wake.promise
      this.#wake = Promise.withResolvers<void>()
    }
  }
}
