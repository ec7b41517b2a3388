import { once } from 'node:events'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { type AddressInfo, createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import { aboutClock, aboutPort, aboutSettings } from './doctor.ts'
import { makeProgram } from './program.ts'

let folder: string

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'shoal-doctor-'))
})

afterEach(async () => {
  vi.unstubAllEnvs()
  await rm(folder, { recursive: true })
})

describe('settings', () => {
  const found = async (file: string): Promise<string[]> => {
    const path = join(folder, 'config.toml')
    await writeFile(path, file)
    const findings = await aboutSettings(makeProgram(), path)
    return findings.map(
      ({ state, what, advice }) => `${state}: ${what}${advice === undefined ? '' : ` -> ${advice}`}`
    )
  }

  test('that are right, and variables that nobody reads', async () => {
    vi.stubEnv('SHOAL_UP_MEMROY', '1GB')
    const [good, mistyped, ...rest] = await found('[up]\nmemory = "1GB"\n')
    expect(good).toMatch(/^good: 1 setting in .*config\.toml$/)
    expect(mistyped).toBe(
      'note: nothing reads the environment variable SHOAL_UP_MEMROY -> Did you mean SHOAL_UP_MEMORY?'
    )
    expect(rest).toEqual([])
  })

  test.each([
    ['[up]\nmemory = "much"', /^bad: .*up\.memory: It must be an amount.*-> Edit the file/],
    ['[up', /^bad: .*not TOML/]
  ])('%j is wrong', async (file, says) => {
    expect((await found(file))[0]).toMatch(says)
  })
})

test('a clock that has stopped', () => {
  const released = Date.UTC(2026, 10, 21)
  expect(aboutClock(released - 3_600_000, released)[0]?.state).toBe('good')
  expect(aboutClock(0, released)[0]).toMatchObject({ state: 'bad', what: expect.stringMatching(/1970/) })
})

test('a port that is taken', async () => {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  expect((await aboutPort(port))[0]).toMatchObject({
    state: 'note',
    what: expect.stringMatching(/EADDRINUSE/)
  })
  server.close()
  await once(server, 'close')
  expect((await aboutPort(port))[0]?.state).toBe('good')
})
