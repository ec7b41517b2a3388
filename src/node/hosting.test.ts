// Spans in real engines: what is loaded, and that nothing stays behind.
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { LlamaEngine } from '../engine/index.ts'
import { Stage, StageServer, type StageServerComponents } from '../stage/index.ts'
import { Hosting } from './hosting.ts'
import type { Library } from './library.ts'
import { libraryIn } from './testing.ts'

const DEMO = 'models/demo.gguf'
const SETTINGS = { context: 256, sessions: 2, threads: 1, gpuLayers: 0, kvType: 'f16' } as const

let folder: string
let server: StageServer
let library: Library
let hosting: Hosting
/** What was started and stopped, in order. */
let events: string[]

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'shoal-hosting-'))
  library = libraryIn(folder)
  server = new StageServer({ host: {} as StageServerComponents['host'] }, {})
  hosting = new Hosting({ server, library }, SETTINGS)
  events = []
  const { start, stop } = LlamaEngine.prototype
  vi.spyOn(LlamaEngine.prototype, 'start').mockImplementation(async function (this: LlamaEngine, options) {
    await start.call(this, options)
    events.push('started')
  })
  vi.spyOn(LlamaEngine.prototype, 'stop').mockImplementation(async function (this: LlamaEngine) {
    await stop.call(this)
    events.push('stopped')
  })
})

afterEach(async () => {
  await hosting.stop()
  await library.stop()
  vi.restoreAllMocks()
  await rm(folder, { recursive: true, force: true })
})

function hosted(): string[] {
  return server.infos.map(({ start, end }) => `${start}-${end}`)
}

test('a move lets go of what was hosted first, and measures what comes', async () => {
  await hosting.host(DEMO, { start: 0, end: 2 })
  expect(hosted()).toEqual(['0-2'])
  const retire = vi.spyOn(server, 'retire').mockImplementation(async (stage, signal) => {
    events.push('retired')
    await StageServer.prototype.retire.call(server, stage, signal)
  })
  const stage = await hosting.host(DEMO, { start: 2, end: 4 })
  expect(retire).toHaveBeenCalledOnce()
  expect(events).toEqual(['started', 'retired', 'stopped', 'started'])
  expect(hosted()).toEqual(['2-4'])
  expect(stage.info.speed?.decodeMicroseconds).toBeGreaterThan(0)
})

test.each([
  ['a file that has gone', 'gone.gguf', { start: 2, end: 4 }, /there is no such file/],
  ['blocks that the model does not have', DEMO, { start: 4, end: 9 }, /./]
])('%s leaves nothing hosted, and another can be', async (_, path, blocks, reason) => {
  await hosting.host(DEMO, { start: 0, end: 2 })
  await expect(hosting.host(path, blocks)).rejects.toThrow(reason)
  expect([hosted(), hosting.stage, events.at(-1)]).toEqual([[], undefined, 'stopped'])
  await hosting.host(DEMO, { start: 0, end: 2 })
  expect(hosted()).toEqual(['0-2'])
})

test('a folder that cannot be written to says so', async () => {
  const elsewhere = libraryIn(DEMO)
  const full = new Hosting({ server, library: elsewhere }, SETTINGS)
  await expect(full.host(DEMO, { start: 0, end: 2 })).rejects.toMatchObject({ code: 'DISK' })
  await elsewhere.stop()
  expect(hosted()).toEqual([])
})

test('an engine that dies at its start is no stage', async () => {
  vi.spyOn(LlamaEngine.prototype, 'start').mockRejectedValueOnce(new Error('it died'))
  await expect(hosting.host(DEMO, { start: 0, end: 2 })).rejects.toThrow('it died')
  expect([hosted(), events]).toEqual([[], ['stopped']])
})

test.each(['starts', 'is measured'])('stopped while its engine %s, it leaves none behind', async (when) => {
  const reached = Promise.withResolvers<void>()
  if (when === 'starts') {
    vi.spyOn(Stage.prototype, 'start').mockImplementationOnce(async function (this: Stage, options) {
      const start = this.engine.start(options)
      reached.resolve()
      await start
    })
  } else {
    const { run } = LlamaEngine.prototype
    vi.spyOn(LlamaEngine.prototype, 'run').mockImplementation(function (this: LlamaEngine, ...given) {
      reached.resolve()
      return run.apply(this, given)
    })
  }
  const host = hosting.host(DEMO, { start: 0, end: 2 })
  host.catch(() => {})
  await reached.promise
  await hosting.stop()
  expect([hosted(), events.at(-1)]).toEqual([[], 'stopped'])
  await expect(host).rejects.toThrow()
})
