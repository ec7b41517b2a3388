import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { ManualClock } from '../swarm/testing-clock.ts'
import { Contributed } from './contributed.ts'

let folder: string
let clock: ManualClock
let isSharing: boolean
let bytesSent: Map<string, number>

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'shoal-contributed-'))
  clock = new ManualClock()
  isSharing = true
  bytesSent = new Map()
})

afterEach(() => rm(folder, { recursive: true, force: true }))

async function start(): Promise<Contributed> {
  bytesSent = new Map()
  const sent = bytesSent
  const contributed = new Contributed(
    { clock, bytesSent: () => sent, isSharing: () => isSharing },
    { folder }
  )
  await contributed.start()
  return contributed
}

const compute = (contributed: Contributed, rows: number, isFirst: boolean): void =>
  contributed.computed({ consumer: 'somebody', rows, blocks: 4, isFirst })

test('what is counted is there at the next start, and a run begins at nothing', async () => {
  const first = await start()
  compute(first, 100, true)
  compute(first, 1, false)
  bytesSent.set('m', 500)
  await clock.advance(10_000)
  isSharing = false
  await clock.advance(10_000)
  const counted = { sessions: 1, blockTokens: 404, karma: 0.404, bytesSent: 500, seconds: 10 }
  expect([first.thisRun, first.total]).toEqual([counted, counted])
  await first.stop()
  const second = await start()
  expect(second.thisRun).toMatchObject({ sessions: 0, blockTokens: 0, bytesSent: 0 })
  bytesSent.set('m', 1).set('n', 2)
  expect(second.total).toEqual({ ...counted, bytesSent: 503 })
  expect([second.bytesSentOf('m'), second.bytesSentOf('n'), second.bytesSentOf('x')]).toEqual([501, 2, 0])
  await second.stop()
})

test('a crash loses a minute at most', async () => {
  const one = await start()
  compute(one, 10, true)
  await clock.advance(60_000)
  await vi.waitFor(async () => {
    const text = await readFile(join(folder, 'contribution.json'), 'utf8')
    expect(JSON.parse(text)).toMatchObject({ blockTokens: 40 })
  })
  await one.stop()
})

test.each(['', '{"sessions":-1}', '[]', '{"bytesSent":5}'])(
  'a file with %s begins at nothing',
  async (text) => {
    await writeFile(join(folder, 'contribution.json'), text)
    const one = await start()
    expect(one.total).toMatchObject({ sessions: 0, blockTokens: 0, bytesSent: 0 })
    await one.stop()
  }
)

test('rates are those of the last seconds', async () => {
  const one = await start()
  await clock.advance(2_000)
  compute(one, 100, true)
  bytesSent.set('m', 8_000)
  await clock.advance(2_000)
  expect(one.rates).toEqual({ blockTokensPerSecond: 200, bytesSentPerSecond: 4_000 })
  await clock.advance(60_000)
  expect(one.rates).toEqual({ blockTokensPerSecond: 0, bytesSentPerSecond: 0 })
  await one.stop()
})
