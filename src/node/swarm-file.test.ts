import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { chmod, mkdtemp, readdir, rm, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { type PrivateSwarm, readSwarmFile, type SwarmFile, writeSwarmFile } from './swarm-file.ts'
import { changeList, joinPublic, leaveSwarm, stayLocal } from './swarm-file-changes.ts'

const LOCAL: SwarmFile = { kind: 'local', asked: false, allow: [], block: [] }
const PRIVATE: PrivateSwarm = {
  ...{ kind: 'private', name: 'home', key: new Uint8Array(32).fill(9), founder: 'F' },
  ...{ addresses: ['/ip4/127.0.0.1/tcp/1/p2p/F'], certificate: new Uint8Array([1, 2, 3]) },
  ...{ allow: ['A'], block: ['B'] }
}

let folder: string
const path = (): string => join(folder, 'swarm.json')

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'shoal-swarm-file-'))
})

afterEach(() => rm(folder, { recursive: true, force: true }))

describe('the file', () => {
  test('is not there in the beginning: nothing has been joined', async () => {
    expect(await readSwarmFile(folder)).toEqual(LOCAL)
    expect(await readSwarmFile(join(folder, 'nowhere'))).toEqual(LOCAL)
  })

  test.each<SwarmFile>([{ ...LOCAL, asked: true }, { kind: 'public', allow: [], block: ['B'] }, PRIVATE])(
    'keeps what was joined: $kind',
    async (file) => {
      await writeSwarmFile(join(folder, 'new'), file)
      expect(await readSwarmFile(join(folder, 'new'))).toEqual(file)
    }
  )

  test.skipIf(process.platform === 'win32')('is for its owner alone', async () => {
    await writeFile(join(folder, 'swarm.json.partial'), 'left by a crash', { mode: 0o666 })
    await writeSwarmFile(folder, PRIVATE)
    expect((await stat(path())).mode & 0o777).toBe(0o600)
    await chmod(path(), 0o640)
    await expect(readSwarmFile(folder)).rejects.toMatchObject({
      ...{
        code: 'SWARM_FILE',
        message: `${path()} can be read by other users of this machine: run chmod 600 ${path()}`
      }
    })
  })

  test.each([
    ['', /is damaged: restore/],
    ['{"kind":"private"', /is damaged: restore/],
    ['{"kind":"secret"}', /is damaged \(kind\)/],
    [`{"kind":"private","name":"x","key":"AAAA"}`, /is damaged \(key\)/]
  ])('with %j says what to do', async (text, says) => {
    await writeFile(path(), text, { mode: 0o600 })
    await expect(readSwarmFile(folder)).rejects.toMatchObject({
      code: 'SWARM_FILE',
      message: expect.stringMatching(says)
    })
  })

  test('is what it was when its writer is killed before the end, and can be written then', async () => {
    await writeSwarmFile(folder, PRIVATE)
    const script = `
      import files from 'node:fs/promises'
      import { syncBuiltinESMExports } from 'node:module'
      files.rename = () => process.kill(process.pid, 'SIGKILL')
      syncBuiltinESMExports()
      const { writeSwarmFile } = await import(${JSON.stringify(new URL('./swarm-file.ts', import.meta.url).href)})
      await writeSwarmFile(${JSON.stringify(folder)}, { kind: 'public', allow: [], block: [] })`
    const child = spawn(process.execPath, ['--input-type=module', '-e', script], { stdio: 'inherit' })
    expect(await once(child, 'exit')).toEqual([null, 'SIGKILL'])
    expect(await readSwarmFile(folder)).toEqual(PRIVATE)
    await writeSwarmFile(folder, LOCAL)
    expect(await readSwarmFile(folder)).toEqual(LOCAL)
    expect(await readdir(folder)).toEqual(['swarm.json'])
  })
})

describe('what people change', () => {
  test('the public swarm is joined and left; who is blocked stays blocked', async () => {
    await changeList(folder, 'block', { add: ['B'] })
    await changeList(folder, 'allow', { add: ['A'] })
    await joinPublic(folder)
    expect(await readSwarmFile(folder)).toEqual({ kind: 'public', allow: ['A'], block: ['B'] })
    expect((await leaveSwarm(folder)).kind).toBe('public')
    expect(await readSwarmFile(folder)).toEqual({ ...LOCAL, asked: true, block: ['B'] })
  })

  test('a private swarm is not left for the public one by the way', async () => {
    await writeSwarmFile(folder, PRIVATE)
    await expect(joinPublic(folder)).rejects.toMatchObject({ code: 'JOINED' })
    expect(await readSwarmFile(folder)).toEqual(PRIVATE)
  })

  test('a no is remembered', async () => {
    await stayLocal(folder)
    expect(await readSwarmFile(folder)).toEqual({ ...LOCAL, asked: true })
  })

  test('lists have everybody once, and lose those who are taken off', async () => {
    await writeSwarmFile(folder, PRIVATE)
    expect(await changeList(folder, 'block', { add: ['C', 'B', 'C'] })).toEqual(['B', 'C'])
    expect(await changeList(folder, 'block', { remove: ['B', 'nobody'] })).toEqual(['C'])
    expect(await changeList(folder, 'allow', {})).toEqual(['A'])
    expect(await readSwarmFile(folder)).toEqual({ ...PRIVATE, block: ['C'] })
  })
})
