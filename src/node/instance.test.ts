import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { mkdir, mkdtemp, readdir, rm, stat, symlink } from 'node:fs/promises'
import { connect, createServer, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { type Answer, askNode, Instance } from './instance.ts'
import type { NodeStatus } from './status.ts'

const LEAVES_NOTHING: Answer<'finish'> = () => {}
const STATUS: NodeStatus = {
  ...{ peer: 'me', version: '1', addresses: [], uptimeSeconds: 1, swarm: { kind: 'local' }, join: [] },
  ...{ peers: [], hosting: [], placement: '', models: [], sessions: 0 }
}

let folder: string
const held: Instance[] = []

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'shoal-instance-'))
})

afterEach(async () => {
  await Promise.all(held.splice(0).map((instance) => instance.release()))
  await rm(folder, { recursive: true, force: true })
})

async function hold(finish: Answer<'finish'> = LEAVES_NOTHING, where = folder): Promise<Instance> {
  const instance = new Instance(where, { finish, status: (say) => say(STATUS) })
  await instance.hold()
  held.push(instance)
  return instance
}

const socketFile = (): string => join(folder, 'node.sock')

/** Leaves a socket file behind, as a node that is killed does. */
async function crash(path = socketFile()): Promise<void> {
  const script = `require('net').createServer().listen(${JSON.stringify(path)}, () => console.log('up'))`
  const child = spawn(process.execPath, ['-e', script], { stdio: ['ignore', 'pipe', 'inherit'] })
  await once(child.stdout, 'data')
  child.kill('SIGKILL')
  await once(child, 'exit')
  expect(existsSync(path)).toBe(true)
}

async function dialled(): Promise<Socket> {
  const socket = connect(socketFile())
  await once(socket, 'connect')
  return socket
}

describe('a folder', () => {
  test('is held by one; the next is told what to do, and can have it after that', async () => {
    const first = await hold()
    await expect(hold()).rejects.toMatchObject({
      code: 'IN_USE',
      message: `A node is running in ${folder} already: stop it with "shoal finish --data-dir ${folder}", or use another --data-dir.`
    })
    await first.release()
    await hold()
  })

  test('is the same by every path to it', async () => {
    const alias = `${folder}-alias`
    await symlink(folder, alias)
    try {
      await hold()
      await expect(hold(LEAVES_NOTHING, alias)).rejects.toMatchObject({ code: 'IN_USE' })
    } finally {
      await rm(alias)
    }
  })

  test('of a dead node can be had', async () => {
    await crash()
    await hold()
    await expect(hold()).rejects.toMatchObject({ code: 'IN_USE' })
  })

  test.each([
    ['an empty folder', async () => {}],
    ["a dead node's folder", crash]
  ])('%s that many want at once is had by one', async (_, prepare) => {
    for (let round = 0; round < 5; round++) {
      await prepare()
      const results = await Promise.allSettled(Array.from({ length: 4 }, () => hold()))
      const refused = results.flatMap((result) => (result.status === 'rejected' ? [result.reason.code] : []))
      expect(refused).toEqual(Array(3).fill('IN_USE'))
      expect(await readdir(folder)).toEqual(['node.lock', 'node.sock'])
      await held.pop()?.release()
    }
  })

  test("keeps nothing of ours once it is let go, and a refused one does not take the other's", async () => {
    const first = await hold()
    const second = new Instance(folder, { finish: LEAVES_NOTHING, status: (say) => say(STATUS) })
    await expect(second.hold()).rejects.toThrow()
    await second.release()
    expect(await readdir(folder)).toEqual(['node.lock', 'node.sock'])
    await first.release()
    await first.release()
    expect(await readdir(folder)).toEqual(['node.lock'])
  })

  test('that is not there, or where no socket can be, is said', async () => {
    const nowhere = join(folder, 'nowhere')
    const says = { code: 'DATA_DIR', message: expect.stringContaining(nowhere) }
    await expect(hold(LEAVES_NOTHING, nowhere)).rejects.toMatchObject(says)
    await mkdir(join(folder, 'node.sock'))
    await expect(hold()).rejects.toMatchObject({ code: 'DATA_DIR' })
  })

  test('of a long path has its socket elsewhere', async () => {
    const long = join(folder, 'a'.repeat(90))
    await mkdir(long)
    const instance = await hold((say) => say({ sessions: 1 }), long)
    await expect(hold(LEAVES_NOTHING, long)).rejects.toMatchObject({ code: 'IN_USE' })
    expect(await readdir(long)).toEqual(['node.lock'])
    const answers = askNode(long, 'finish')
    expect((await answers.next()).value).toEqual({ sessions: 1 })
    const end = answers.next()
    await instance.release()
    expect((await end).done).toBe(true)
    await expect(askNode(long, 'finish').next()).rejects.toMatchObject({ code: 'NOT_RUNNING' })
  })

  test.skipIf(process.platform === 'win32')('lets its user alone talk to the node', async () => {
    await hold()
    expect((await stat(socketFile())).mode & 0o777).toBe(0o600)
  })
})

describe('asking', () => {
  test('gives the answers until the node lets go', async () => {
    const instance = await hold((say) => {
      say({ sessions: 2 })
      say({ sessions: 1 })
    })
    const answers = askNode(folder, 'finish')
    expect((await answers.next()).value).toEqual({ sessions: 2 })
    expect((await answers.next()).value).toEqual({ sessions: 1 })
    const end = answers.next()
    await instance.release()
    expect((await end).done).toBe(true)
  })

  test.each([
    ['an empty folder', async () => {}],
    ["a dead node's folder", crash],
    ['no folder', () => rm(folder, { recursive: true })]
  ])('in %s says that no node runs there', async (_, prepare) => {
    await prepare()
    await expect(askNode(folder, 'finish').next()).rejects.toMatchObject({
      code: 'NOT_RUNNING',
      message: `No node is running in ${folder}: name its folder with --data-dir.`
    })
  })

  test('ends when the asker gives up, and the node hears of it', async () => {
    const gone = Promise.withResolvers<void>()
    await hold((say, signal) => {
      signal.addEventListener('abort', () => gone.resolve())
      say({ sessions: 1 })
    })
    const controller = new AbortController()
    const answers = askNode(folder, 'finish', controller.signal)
    await answers.next()
    const next = answers.next()
    controller.abort()
    await expect(next).rejects.toMatchObject({ name: 'AbortError' })
    await gone.promise
  })

  test.each(['{"command":"dance"}', '{', '[]', ''])(
    'for %j is refused, and the node stays',
    async (request) => {
      await hold((say) => say({ sessions: 0 }))
      const socket = await dialled()
      socket.write(`${request}\n`)
      const [answer] = await once(socket, 'data')
      expect(JSON.parse(String(answer))).toEqual({
        error: 'The node takes only these requests: finish, status.'
      })
      socket.destroy()
      expect((await askNode(folder, 'finish').next()).value).toEqual({ sessions: 0 })
    }
  )

  test('with a line that does not end is cut off', async () => {
    await hold((say) => say({ sessions: 0 }))
    const socket = await dialled()
    socket.on('error', () => {})
    const closed = once(socket, 'close')
    socket.write('x'.repeat(10_000))
    await closed
    expect((await askNode(folder, 'finish').next()).value).toEqual({ sessions: 0 })
  })

  test.each([
    ['what it refuses', '{"error":"No."}\n', /^No\. Ask it with the version/],
    ['what nobody understands', '{"sessions":-1}\n', /unknown here/],
    ['a line without end', 'x'.repeat(2_000_000), /too long/]
  ])('a node that answers %s fails', async (_, answer, says) => {
    const server = createServer((socket) => socket.on('error', () => {}).write(answer))
    server.listen(socketFile())
    await once(server, 'listening')
    try {
      await expect(askNode(folder, 'finish').next()).rejects.toThrow(says)
    } finally {
      server.close()
    }
  })

  test('a node that is killed has left', async () => {
    const script = `
      const server = require('net').createServer((socket) => socket.write('{"sessions":1}\\n'))
      server.listen(${JSON.stringify(socketFile())}, () => console.log('up'))`
    const child = spawn(process.execPath, ['-e', script], { stdio: ['ignore', 'pipe', 'inherit'] })
    await once(child.stdout, 'data')
    const answers = askNode(folder, 'finish')
    expect((await answers.next()).value).toEqual({ sessions: 1 })
    child.kill('SIGKILL')
    expect((await answers.next()).done).toBe(true)
    await text(child.stdout)
  })
})
