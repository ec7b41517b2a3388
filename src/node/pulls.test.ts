import { afterEach, beforeEach, expect, test } from 'vitest'
import type { FetchOptions, Library, NamedModel } from './library.ts'
import { Pulls } from './pulls.ts'

const MODEL = {
  name: 'Tiny',
  manifest: {
    items: [
      { part: 'block-0', byteLength: 60 },
      { part: 'block-1', byteLength: 40 }
    ],
    blockCount: 2
  }
}

interface Fetching {
  readonly id: string
  readonly parts: readonly string[]
  readonly options: FetchOptions
  readonly done: PromiseWithResolvers<void>
}

let fetching: Fetching[]
let pulls: Pulls

const library = {
  find: async (name: string) => {
    if (name === 'missing') throw new Error('nobody has heard of it')
    return { ...MODEL, id: `id of ${name}` } as unknown as NamedModel
  },
  fetch: async ({ id }: NamedModel, parts: ReadonlySet<string>, options: FetchOptions = {}) => {
    const done = Promise.withResolvers<void>()
    options.signal?.addEventListener('abort', () => done.reject(options.signal?.reason))
    fetching.push({ id, parts: [...parts], options, done })
    await done.promise
  }
} as Pick<Library, 'find' | 'fetch'>

beforeEach(() => {
  fetching = []
  pulls = new Pulls({ library })
})

afterEach(() => pulls.stop())

async function settled(): Promise<void> {
  await new Promise(setImmediate)
}

function states(): string[] {
  return pulls.reports.map(({ name, state }) => `${name} ${state}`)
}

test('how far it is, and that it is done', async () => {
  expect(pulls.add({ name: 'demo' })).toMatchObject({ id: 'pull-1', name: 'demo', totalBytes: 0 })
  await settled()
  expect(pulls.reports).toMatchObject([{ state: 'fetching', model: 'id of demo', totalBytes: 100 }])
  expect(pulls.isFetching('id of demo')).toBe(true)
  fetching[0]?.options.onProgress?.({
    bytes: 30,
    totalBytes: 100,
    bytesPerSecond: 10,
    etaSeconds: 7,
    peers: 2
  })
  expect(pulls.reports).toMatchObject([{ bytes: 30, bytesPerSecond: 10, secondsLeft: 7, peers: 2 }])
  fetching[0]?.done.resolve()
  await settled()
  const id = 'id of demo'
  expect(pulls.reports).toEqual([
    { id: 'pull-1', name: 'demo', model: id, state: 'done', bytes: 100, totalBytes: 100 }
  ])
  expect([pulls.isFetching(id), pulls.remove(id), pulls.remove('pull-1'), pulls.reports]).toEqual([
    false,
    false,
    true,
    []
  ])
})

test('two at a time; the next begins when one ends', async () => {
  for (const name of ['llama3.2:1b', 'qwen3:4b', 'demo']) pulls.add({ name })
  await settled()
  expect(states()).toEqual(['demo waiting', 'qwen3:4b fetching', 'llama3.2:1b fetching'])
  fetching[0]?.done.reject(new Error('the disk is full'))
  await settled()
  await settled()
  expect(states()).toEqual(['demo fetching', 'qwen3:4b fetching', 'llama3.2:1b failed'])
  expect(pulls.reports.at(-1)?.error).toBe('the disk is full')
})

test('cancelled, it ends at once, and others have its place', async () => {
  for (const name of ['llama3.2:1b', 'qwen3:4b', 'demo']) pulls.add({ name })
  await settled()
  expect(pulls.remove('pull-3')).toBe(true)
  expect(pulls.remove('id of qwen3:4b')).toBe(true)
  expect(fetching[1]?.options.signal?.aborted).toBe(true)
  fetching[1]?.options.onProgress?.({ bytes: 99 })
  await settled()
  expect(states()).toEqual(['demo cancelled', 'qwen3:4b cancelled', 'llama3.2:1b fetching'])
  expect(pulls.reports[1]?.bytes).toBe(0)
  pulls.add({ name: 'demo' })
  await settled()
  expect(states()[0]).toBe('demo fetching')
})

test('some blocks only, or none where there are none such', async () => {
  pulls.add({ name: 'demo', blocks: { start: 1, end: 2 } })
  pulls.add({ name: 'qwen3:4b', blocks: { start: 1, end: 3 } })
  await settled()
  expect(fetching.map(({ parts }) => parts)).toEqual([expect.arrayContaining(['block-1'])])
  expect(fetching[0]?.parts).not.toContain('block-0')
  expect(pulls.reports[0]).toMatchObject({ state: 'failed', error: expect.stringContaining('no blocks 1-3') })
})

test('the same again is the one that runs, and what is no name is refused', () => {
  const { id } = pulls.add({ name: 'demo' })
  expect(pulls.add({ name: 'demo' }).id).toBe(id)
  expect(() => pulls.add({ name: 'no:such:name:at all' })).toThrow()
  expect(pulls.reports).toHaveLength(1)
})

test('as many as nobody means are refused', () => {
  for (let count = 0; count < 32; count++)
    pulls.add({ name: 'f'.repeat(62) + count.toString(16).padStart(2, '0') })
  expect(() => pulls.add({ name: 'demo' })).toThrow(/32 models are being fetched/)
})
