import { expect, test } from 'vitest'
import type { RawStream } from './raw-stream.ts'
import { Unread } from './requests.ts'

/** A stream whose other side reads when told. */
class SlowReader {
  readonly peer = 'slow'
  readonly #drain = Promise.withResolvers<void>()
  aborted: Error | undefined

  read(): void {
    this.#drain.resolve()
  }

  abort(error: Error): void {
    this.aborted = error
    this.#drain.reject(error)
  }

  drained(): Promise<void> {
    return this.#drain.promise
  }
}

test('when too many answers wait to be read, the one that has waited longest goes', async () => {
  const unread = new Unread()
  const readers = Array.from({ length: 66 }, () => new SlowReader())
  const waitFor = (reader: SlowReader) => unread.wait(reader as unknown as RawStream)
  const waits = readers.slice(0, 64).map(waitFor)
  readers[0]!.read()
  await waits[0]
  waits.push(waitFor(readers[64]!)) // there is room again
  expect(readers.every(({ aborted }) => aborted === undefined)).toBe(true)
  waits.push(waitFor(readers[65]!))
  await expect(waits[1]).rejects.toBe(readers[1]!.aborted)
  expect(readers.filter(({ aborted }) => aborted !== undefined)).toEqual([readers[1]])
  for (const reader of readers) reader.read()
  await Promise.allSettled(waits)
})
