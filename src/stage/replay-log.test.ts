import { mkdtempSync, readdirSync, readlinkSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { open } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import fc from 'fast-check'
import { afterAll, afterEach, beforeAll, describe, expect, test, vi } from 'vitest'
import type { Frame, SampleMode } from '../net/index.ts'
import { ReplayLog, type ReplayLogInit, ReplayLostError } from './replay-log.ts'
import { SpillFile } from './spill-file.ts'

const SEED = 20_260_101
const ROW_BYTES = 8
/** Chunks are then of two rows. */
const MEMORY_BYTES = 64
const IS_LINUX = process.platform === 'linux'

let folder: string
const logs: ReplayLog[] = []
const rejections: unknown[] = []
const noteRejection = (reason: unknown): unknown => rejections.push(reason)

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'shoal-replay-'))
  process.on('unhandledRejection', noteRejection)
})
afterAll(() => {
  process.off('unhandledRejection', noteRejection)
  rmSync(folder, { recursive: true })
})
afterEach(async () => {
  await Promise.all(logs.splice(0).map((log) => log.close()))
  expect(openFiles()).toEqual([])
  expect(readdirSync(folder)).toEqual([])
  expect(rejections.splice(0)).toEqual([])
})

/** This process's handles of files that lie, or lay, in the test's folder. */
function openFiles(): string[] {
  if (!IS_LINUX) return []
  return readdirSync('/proc/self/fd').flatMap((name) => {
    const path = `/proc/self/fd/${name}`
    try {
      return readlinkSync(path).startsWith(folder) ? [path] : []
    } catch {
      return [] // the handle that listed the folder
    }
  })
}

interface Row {
  readonly token: number
  readonly epoch: number
  readonly isDrawn: boolean
}

const isDrawnAt = (sample: SampleMode, row: number, rows: number): boolean =>
  sample === 'all' || (sample === 'last' && row === rows - 1)

/** A row's payload is its token id and its epoch. */
function frameOf(
  position: number,
  rows: readonly Omit<Row, 'isDrawn'>[],
  sample: SampleMode,
  follows = 0
): Frame {
  const payload = new Uint8Array(Uint32Array.from(rows.flatMap(({ token, epoch }) => [token, epoch])).buffer)
  const tokens = Int32Array.from(rows, ({ token }) => token)
  return { epoch: rows[0]?.epoch ?? 0, follows, position, tokens, sample, codec: 'f32', payload }
}

/** `rows` rows with the ids `position`, `position + 1`, ... */
function frameAt(position: number, rows: number, epoch = 0, sample: SampleMode = 'none', follows = 0): Frame {
  const list = Array.from({ length: rows }, (_, row) => ({ token: position + row, epoch }))
  return frameOf(position, list, sample, follows)
}

function logOf(init: Partial<ReplayLogInit> = {}): ReplayLog {
  const log = new ReplayLog({ codec: 'f32', rowBytes: ROW_BYTES, memoryBytes: MEMORY_BYTES, folder, ...init })
  logs.push(log)
  return log
}

async function settled(log: ReplayLog): Promise<void> {
  await vi.waitFor(() => expect(log.memoryBytesUsed).toBeLessThanOrEqual(MEMORY_BYTES), { interval: 1 })
}

/** The longest frame that the rows from `from` on begin with, tried one by one. */
function naiveRead(rows: readonly Row[], from: number, most: number, drawFrom: number): Frame {
  for (let count = Math.min(most, rows.length - from); ; count--) {
    const part = rows.slice(from, from + count)
    const draws = part.map(({ isDrawn }, row) => isDrawn && from + row >= drawFrom)
    const sample = (['none', 'last', 'all'] as const).find((mode) =>
      draws.every((draw, row) => draw === isDrawnAt(mode, row, count))
    )
    if (sample === 'all' && count > 16) continue // more is no window
    if (sample !== undefined && part.every(({ epoch }) => epoch === part[0]!.epoch)) {
      return frameOf(from, part, sample, rows[from - 1]?.epoch)
    }
  }
}

type Step =
  | { do: 'append'; rows: number; sample: SampleMode; raise: number }
  | { do: 'truncate'; back: number }
  | { do: 'read'; from: number; most: number; drawFrom: number }
  | { do: 'settle' }

const steps: fc.Arbitrary<Step[]> = fc.array(
  fc.oneof(
    {
      weight: 5,
      arbitrary: fc.record({
        do: fc.constant('append' as const),
        rows: fc.nat(9),
        sample: fc.constantFrom<SampleMode>('none', 'last', 'all'),
        raise: fc.constantFrom(0, 0, 0, 1, 3)
      })
    },
    { weight: 1, arbitrary: fc.record({ do: fc.constant('truncate' as const), back: fc.nat(40) }) },
    {
      weight: 4,
      arbitrary: fc.record({
        do: fc.constant('read' as const),
        from: fc.nat(1_000),
        most: fc.integer({ min: 1, max: 20 }),
        drawFrom: fc.nat(60)
      })
    },
    { weight: 2, arbitrary: fc.record({ do: fc.constant('settle' as const) }) }
  ),
  { minLength: 1, maxLength: 50 }
)

/** Runs the steps on a log and on an array of rows. Reads may end late; says how many found rows lost. */
async function compare(log: ReplayLog, list: readonly Step[], mayLose = false): Promise<number> {
  const rows: Row[] = []
  const reads: Promise<void>[] = []
  let epoch = 0
  let token = 0
  let lost = 0
  const read = async (from: number, most: number, drawFrom: number): Promise<void> => {
    const atCall = rows.slice()
    try {
      const frame = await log.read(from, most, drawFrom)
      const whole = naiveRead(atCall, from, most, drawFrom)
      // Only rows that are lost may end a frame early.
      const isShort = mayLose && frame.tokens.length < whole.tokens.length
      expect(frame).toEqual(isShort ? naiveRead(atCall, from, frame.tokens.length, drawFrom) : whole)
    } catch (error) {
      if (!mayLose || !(error instanceof ReplayLostError)) throw error
      lost++
    }
  }
  for (const step of list) {
    if (step.do === 'append') {
      epoch += step.raise
      const added = Array.from({ length: step.rows }, (_, row): Row => {
        return { token: token++, epoch, isDrawn: isDrawnAt(step.sample, row, step.rows) }
      })
      const frame = { ...frameOf(rows.length, added, step.sample), epoch }
      log.append(frame)
      frame.payload.fill(255)
      rows.push(...added)
    } else if (step.do === 'truncate') {
      rows.length = Math.max(0, rows.length - step.back)
      log.truncate(rows.length)
    } else if (step.do === 'read') {
      if (rows.length > 0) reads.push(read(step.from % rows.length, step.most, step.drawFrom))
    } else await settled(log)
    expect(log.length).toBe(rows.length)
  }
  await Promise.all(reads)
  for (let from = 0; from < rows.length; from++) await read(from, 7, 0)
  return lost
}

describe('against an array of rows', () => {
  test('every read gives the rows as they were when it was called', async () => {
    const property = fc.asyncProperty(steps, async (list) => {
      const log = logOf()
      await compare(log, list)
      await log.close()
    })
    await fc.assert(property, { seed: SEED, numRuns: 300 })
  })

  test('when some writes fail, a read gives the right rows or says that they are lost', async () => {
    let lost = 0
    const property = fc.asyncProperty(steps, fc.infiniteStream(fc.boolean()), async (list, outcomes) => {
      const log = logOf({
        createFile: fileWith((file) => {
          const write = file.write.bind(file)
          file.write = async (...how) => {
            if (outcomes.next().value) throw new Error('no space left')
            await write(...how)
          }
        })
      })
      lost += await compare(log, list, true)
      log.truncate(0)
      await compare(log, [{ do: 'append', rows: 3, sample: 'none', raise: 0 }])
      await log.close()
    })
    await fc.assert(property, { seed: SEED, numRuns: 300 })
    expect(lost).toBeGreaterThan(0)
  })

  test('a log of ids alone is the same, without payloads and without a file', async () => {
    const withoutPayload = (frame: Frame): Frame => ({ ...frame, codec: 'none', payload: new Uint8Array(0) })
    const log = logOf({ codec: 'none', rowBytes: 0, memoryBytes: 0 })
    log.append(withoutPayload(frameAt(0, 5_000)))
    log.append(withoutPayload(frameAt(5_000, 10, 1, 'last')))
    log.truncate(5_009)
    log.append(withoutPayload(frameAt(5_009, 2, 2, 'all')))
    expect(log.read(4_998, 9, 0)).toEqual(withoutPayload(frameAt(4_998, 2)))
    expect(log.read(5_000, 20, 0)).toEqual(withoutPayload(frameAt(5_000, 9, 1)))
    expect(log.read(5_009, 20, 0)).toEqual(withoutPayload(frameAt(5_009, 2, 2, 'all', 1)))
    expect(log.memoryBytesUsed).toBe(0)
  })
})

describe('what a frame says', () => {
  /** Frames of two rows were sent; the modes are those that they were sent with, and what is read. */
  test.each([
    ['rows without draws are one frame', 'none none', { drawFrom: 0, most: 9 }, '4 none'],
    ['a draw ends a frame', 'last last', { drawFrom: 0, most: 9 }, '2 last, 2 last'],
    ['draws in a row are one frame', 'last all none', { drawFrom: 0, most: 9 }, '2 last, 2 all, 2 none'],
    ['one draw alone is its last', 'all none', { drawFrom: 1, most: 9 }, '2 last, 2 none'],
    ['a draw before where draws begin is left out', 'last all', { drawFrom: 3, most: 9 }, '4 last'],
    ['no more rows than asked for', 'all all', { drawFrom: 0, most: 3 }, '3 all, 1 last']
  ])('%s', (_, sent, { drawFrom, most }, expected) => {
    const log = logOf()
    for (const sample of sent.split(' ')) log.append(frameAt(log.length, 2, 0, sample as SampleMode))
    const frames: string[] = []
    for (let from = 0; from < log.length; ) {
      const { tokens, sample } = log.read(from, most, drawFrom) as Frame
      frames.push(`${tokens.length} ${sample}`)
      from += tokens.length
    }
    expect(frames.join(', ')).toBe(expected)
  })

  test('a frame ends where the epoch changes', () => {
    const log = logOf()
    log.append(frameAt(0, 3, 4))
    log.append(frameAt(3, 2, 5))
    expect(log.read(1, 9, 0)).toMatchObject({ epoch: 4, position: 1, tokens: Int32Array.of(1, 2) })
    expect(log.read(3, 9, 0)).toMatchObject({ epoch: 5, position: 3, tokens: Int32Array.of(3, 4) })
  })

  test('rows keep what is known of them however many follow', () => {
    const log = logOf({ folder: undefined })
    for (let row = 0; row < 2_000; row++)
      log.append(frameAt(row, 1, row >> 2, row % 4 === 3 ? 'last' : 'none'))
    for (let row = 0; row < 2_000; row += 4)
      expect(log.read(row, 9, 0)).toEqual(frameAt(row, 4, row >> 2, 'last', Math.max(0, (row >> 2) - 1)))
  })

  test('the payload is a copy in a buffer of its own', () => {
    const log = logOf()
    log.append(frameAt(0, 2))
    const frame = log.read(0, 2, 0) as Frame
    expect(frame.payload.buffer.byteLength).toBe(2 * ROW_BYTES)
    frame.payload.fill(255)
    expect(log.read(0, 2, 0)).toEqual(frameAt(0, 2))
  })
})

describe('what a receiver holds', () => {
  test.each([
    ['nothing here is newer', { epoch: 9, length: 4 }, 4],
    ['it has more than this log', { epoch: 9, length: 40 }, 40],
    ['what it has was rewritten later', { epoch: 3, length: 6 }, 2],
    ['what it has ends before that', { epoch: 3, length: 1 }, 1],
    ['between two rewrites', { epoch: 6, length: 6 }, 4],
    ['it has the later one of two', { epoch: 5, length: 6 }, 4],
    ['all was rewritten', { epoch: 1, length: 6 }, 0]
  ])('%s', (_, state, expected) => {
    const log = logOf()
    log.append(frameAt(0, 2, 2))
    log.append(frameAt(2, 2, 5))
    log.append(frameAt(4, 2, 7))
    expect(log.held(state)).toBe(expected)
  })

  test('an empty log has rewritten nothing', () => {
    expect(logOf().held({ epoch: 0, length: 7 })).toBe(7)
  })
})

test("a caller's mistakes are errors, and change nothing", async () => {
  const log = logOf()
  log.append(frameAt(0, 2, 3))
  expect(() => log.append(frameAt(1, 1, 3))).toThrow('a frame at 1 in a log of 2 rows')
  expect(() => log.append(frameAt(2, 1, 2))).toThrow('epoch 2 went back')
  expect(() => log.append({ ...frameAt(2, 1, 3), payload: new Uint8Array(4) })).toThrow('4 bytes for 1 rows')
  expect(() => log.read(2, 1, 0)).toThrow("can't read")
  expect(() => log.read(0, 0, 0)).toThrow("can't read")
  expect(log.read(0, 9, 0)).toEqual(frameAt(0, 2, 3))
  await log.close()
  expect(() => log.append(frameAt(0, 1))).toThrow('closed')
})

/** Creates a file as a log does, and changes it. */
function fileWith(change: (file: SpillFile) => void): (into: string) => Promise<SpillFile> {
  return async (into) => {
    const file = await SpillFile.create(into)
    change(file)
    return file
  }
}

/** A file that holds each write up until it is let go. */
function heldBack(): {
  createFile: (into: string) => Promise<SpillFile>
  begun: () => number
  letGo: () => void
} {
  const waiting: (() => void)[] = []
  let begun = 0
  const createFile = fileWith((file) => {
    const write = file.write.bind(file)
    file.write = async (...how) => {
      begun++
      await new Promise<void>((resolve) => waiting.push(resolve))
      await write(...how)
    }
  })
  return {
    createFile,
    begun: () => begun,
    letGo: () => waiting.splice(0).forEach((resolve) => void resolve())
  }
}

describe('the file', () => {
  test('the oldest rows go to it, the newest stay in memory', async () => {
    const log = logOf()
    log.append(frameAt(0, 100))
    expect(log.memoryBytesUsed).toBe(100 * ROW_BYTES)
    expect(log.read(0, 100, 0)).toEqual(frameAt(0, 100))
    await settled(log)
    expect(log.memoryBytesUsed).toBe(MEMORY_BYTES)
    const read = log.read(0, 100, 0)
    expect(read).toBeInstanceOf(Promise)
    expect(await read).toEqual(frameAt(0, 100))
    expect(log.read(92, 100, 0)).toEqual(frameAt(92, 8))
  })

  test('without a folder all rows stay in memory', () => {
    const log = logOf({ folder: undefined })
    log.append(frameAt(0, 100))
    expect(log.memoryBytesUsed).toBe(100 * ROW_BYTES)
    expect(log.read(0, 100, 0)).toEqual(frameAt(0, 100))
  })

  test('it may take and give a few bytes at a time', async () => {
    const path = join(folder, 'named')
    const log = logOf({
      createFile: async () => {
        const handle = await open(path, 'wx+')
        const write = handle.write.bind(handle)
        const read = handle.read.bind(handle)
        const few = {
          write: (bytes: Uint8Array, from: number, count: number, at: number) =>
            write(bytes, from, Math.min(count, 3), at),
          read: (bytes: Uint8Array, from: number, count: number, at: number) =>
            read(bytes, from, Math.min(count, 3), at)
        }
        return new SpillFile(Object.assign(handle, few), path)
      }
    })
    log.append(frameAt(0, 100))
    await settled(log)
    expect(await log.read(0, 100, 0)).toEqual(frameAt(0, 100))
  })

  test.runIf(IS_LINUX)('nobody else sees it, and it is gone when the log is closed', async () => {
    const log = logOf()
    log.append(frameAt(0, 100))
    await settled(log)
    expect(readdirSync(folder)).toEqual([])
    const [path, ...others] = openFiles()
    expect(others).toEqual([])
    expect(statSync(path!).mode & 0o777).toBe(0o600)
    await Promise.all([log.close(), log.close()])
    expect(openFiles()).toEqual([])
    expect(log.memoryBytesUsed).toBe(0)
  })

  test('where open files keep their names, closing removes it', async () => {
    const path = join(folder, 'named')
    const log = logOf({ createFile: async () => new SpillFile(await open(path, 'wx+'), path) })
    log.append(frameAt(0, 100))
    await settled(log)
    expect(readdirSync(folder)).toEqual(['named'])
    await log.close()
    expect(readdirSync(folder)).toEqual([])
  })

  test('closing while the file is created and written leaves nothing open', async () => {
    const log = logOf()
    log.append(frameAt(0, 100))
    await log.close()
    expect(openFiles()).toEqual([])
  })

  test('closing while rows are read from it ends the read', async () => {
    const log = logOf()
    log.append(frameAt(0, 100))
    await settled(log)
    const read = Promise.resolve(log.read(0, 100, 0)).catch((error: unknown) => error)
    await log.close()
    const result = await read
    if (!(result instanceof ReplayLostError)) expect(result).toEqual(frameAt(0, 100))
  })
})

describe('rows rewritten', () => {
  test('rows cut away in the file and sent again are the new ones, those before are kept', async () => {
    const log = logOf()
    log.append(frameAt(0, 100))
    await settled(log)
    log.truncate(51)
    expect(await log.read(48, 9, 0)).toEqual(frameAt(48, 3))
    for (let position = 51; position < 120; position++) log.append(frameAt(position, 1, 1))
    await settled(log)
    expect(await log.read(0, 200, 0)).toEqual(frameAt(0, 51))
    expect(await log.read(51, 200, 0)).toEqual(frameAt(51, 69, 1))
  })

  test('rows rewritten while the old ones are written stay in memory until they are written too', async () => {
    const { createFile, begun, letGo } = heldBack()
    const log = logOf({ createFile })
    log.append(frameAt(0, 10))
    await vi.waitFor(() => expect(begun()).toBe(1), { interval: 1 })
    log.truncate(1)
    log.append(frameAt(1, 9, 1))
    letGo()
    await vi.waitFor(() => expect(begun()).toBe(2), { interval: 1 })
    expect(log.read(0, 9, 0)).toEqual(frameAt(0, 1))
    expect(log.read(1, 9, 0)).toEqual(frameAt(1, 9, 1))
    letGo()
    await settled(log)
    expect(await log.read(0, 9, 0)).toEqual(frameAt(0, 1))
    expect(await log.read(1, 9, 0)).toEqual(frameAt(1, 9, 1))
  })

  test('a slow read gives the rows that were there when it was called', async () => {
    const held = Promise.withResolvers<void>()
    const log = logOf({
      createFile: fileWith((file) => {
        const read = file.read.bind(file)
        file.read = async (...how) => {
          await held.promise
          await read(...how)
        }
      })
    })
    log.append(frameAt(0, 100))
    await settled(log)
    const before = log.read(0, 100, 0)
    log.truncate(0)
    log.append(frameAt(0, 100, 1))
    const after = log.read(0, 100, 0)
    held.resolve()
    expect(await before).toEqual(frameAt(0, 100))
    expect(after).toEqual(frameAt(0, 100, 1))
    await settled(log)
    expect(await log.read(0, 100, 0)).toEqual(frameAt(0, 100, 1))
  })
})

describe('a disk that fails', () => {
  /** Rows 0 to 91 are lost, 92 to 99 are in memory. */
  async function expectOldestLost(log: ReplayLog): Promise<void> {
    log.append(frameAt(0, 100))
    await settled(log)
    expect(() => log.read(0, 100, 0)).toThrow(ReplayLostError)
    expect(() => log.read(91, 1, 0)).toThrow(ReplayLostError)
    expect(log.read(92, 100, 0)).toEqual(frameAt(92, 8))
  }

  test('no folder can be made: the oldest rows are lost, memory is bounded, newer rows are kept', async () => {
    const file = join(folder, 'file')
    writeFileSync(file, '')
    const log = logOf({ folder: join(file, 'folder') })
    await expectOldestLost(log)
    log.append(frameAt(100, 50))
    await settled(log)
    expect(log.read(142, 100, 0)).toEqual(frameAt(142, 8))
    rmSync(file)
  })

  test.runIf(IS_LINUX)('a full disk says so as the cause', async () => {
    const log = logOf({ createFile: async () => new SpillFile(await open('/dev/full', 'r+')) })
    await expectOldestLost(log)
    const error = await Promise.try(() => log.read(0, 1, 0)).catch((thrown: unknown) => thrown)
    expect(error).toMatchObject({ code: 'REPLAY_LOST', position: 0, cause: { code: 'ENOSPC' } })
  })

  test('cut back below what is lost, the log is whole again', async () => {
    const path = join(folder, 'file')
    writeFileSync(path, '')
    const log = logOf({ folder: join(path, 'folder') })
    await expectOldestLost(log)
    rmSync(path)
    log.truncate(41)
    log.append(frameAt(41, 59, 1))
    await settled(log)
    expect(() => log.read(40, 9, 0)).toThrow(ReplayLostError)
    expect(await log.read(41, 59, 0)).toEqual(frameAt(41, 59, 1))
    log.truncate(0)
    log.append(frameAt(0, 100, 2))
    await settled(log)
    expect(await log.read(0, 100, 0)).toEqual(frameAt(0, 100, 2))
    rmSync(path, { recursive: true })
  })

  test('rows that are before lost ones are still read, up to these', async () => {
    let writes = 0
    const log = logOf({
      createFile: fileWith((file) => {
        const write = file.write.bind(file)
        file.write = async (...how) => {
          if (++writes === 3) throw new Error('no space left')
          await write(...how)
        }
      })
    })
    log.append(frameAt(0, 100))
    await settled(log)
    expect(await log.read(0, 100, 0)).toEqual(frameAt(0, 4))
    expect(() => log.read(4, 100, 0)).toThrow(ReplayLostError)
    expect(await log.read(6, 100, 0)).toEqual(frameAt(6, 94))
  })

  test('a file that can no longer be read gives lost rows, and what is rewritten is kept', async () => {
    const log = logOf({
      createFile: fileWith((file) => {
        file.read = () => Promise.reject(new Error('input/output error'))
        file.readNow = () => {
          throw new Error('input/output error')
        }
      })
    })
    log.append(frameAt(0, 100))
    await settled(log)
    await expect(log.read(0, 1, 0)).rejects.toThrow(ReplayLostError)
    log.truncate(51)
    log.append(frameAt(51, 1))
    expect(() => log.read(50, 2, 0)).toThrow(ReplayLostError)
    expect(log.read(51, 2, 0)).toEqual(frameAt(51, 1))
  })
})
