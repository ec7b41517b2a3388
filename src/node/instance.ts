/**
 * A running node holds its data folder, and listens on a local socket there. Other commands of the same user talk
 * to it through that: one JSON line per request, JSON lines as answers.
 */
import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { chmod, realpath, rm } from 'node:fs/promises'
import { connect, createServer, type Server, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { z } from 'zod'
import { ShoalError } from '../common/index.ts'
import { nodeStatus } from './status.ts'

const IS_WINDOWS = process.platform === 'win32'
/** Whoever can write to the socket can make the node leave: its user only. */
const MODE = 0o600
/** A Unix socket's path has 104 bytes on macOS and 108 on Linux, a zero at the end included. */
const MAX_PATH_BYTES = 103
/** Many times what a request has, in UTF-16 units. */
const MAX_REQUEST = 4_096
/** A status names all models and peers. */
const MAX_ANSWER = 1024 * 1024
const SQLITE_BUSY = 5
/** Of some that start at once, each may find the lock taken for a moment, so that nobody would have it. */
const LOCK_MS = 50

/** What a node can be asked, and what its answers are. */
const COMMANDS = {
  /** How far it is: the sessions that it still has. Again and again, until it has left. */
  finish: z.object({ sessions: z.int().min(0) }),
  status: nodeStatus
}
const requestSchema = z.object({ command: z.enum(Object.keys(COMMANDS) as [Command, ...Command[]]) })
const errorSchema = z.object({ error: z.string() })

export type Command = keyof typeof COMMANDS
type AnswerTo<C extends Command> = z.infer<(typeof COMMANDS)[C]>
export type FinishProgress = AnswerTo<'finish'>

/** Answers once or several times, until the node lets go of its folder, or the signal says that the asker is gone. */
export type Answer<C extends Command> = (say: (answer: AnswerTo<C>) => void, gone: AbortSignal) => void
export type Answers = { readonly [C in Command]: Answer<C> }

export class Instance {
  readonly #folder: string
  readonly #commands: Answers
  readonly #server: Server
  readonly #askers = new Set<Socket>()
  #lock: DatabaseSync | undefined

  /** The folder has to be there by the time it is held. */
  constructor(folder: string, commands: Answers) {
    this.#folder = folder
    this.#commands = commands
    this.#server = createServer((socket) => void this.#serve(socket))
  }

  /** Throws `ShoalError` IN_USE when another node holds the folder, DATA_DIR when it can't be held. */
  async hold(): Promise<void> {
    const folder = this.#folder
    try {
      this.#lock = lock(folder)
      if (this.#lock !== undefined) return await listen(this.#server, folder)
    } catch (cause) {
      await this.release()
      const message = `Cannot hold the data folder ${folder}: ${(cause as Error).message}`
      throw new ShoalError('DATA_DIR', `${message}. Use another one, with --data-dir.`, { cause })
    }
    const advice = `stop it with "shoal finish --data-dir ${folder}", or use another --data-dir`
    throw new ShoalError('IN_USE', `A node is running in ${folder} already: ${advice}.`)
  }

  /** Ends the answers that are under way: whoever asked learns by that that the node has left. */
  async release(): Promise<void> {
    const closed = this.#server.listening ? once(this.#server, 'close') : undefined
    this.#server.close() // removes the socket, too
    this.#lock?.close()
    this.#lock = undefined
    for (const socket of this.#askers) socket.destroySoon()
    await closed
  }

  async #serve(socket: Socket): Promise<void> {
    const gone = new AbortController()
    const say = (answer: object): void => {
      if (socket.writable) socket.write(`${JSON.stringify(answer)}\n`)
    }
    this.#askers.add(socket)
    socket.on('error', () => {}) // an asker that went away; its end is seen below
    try {
      for await (const line of linesOf(socket, MAX_REQUEST)) {
        const request = parse(requestSchema, line)
        if (request !== undefined) this.#commands[request.command](say, gone.signal)
        else say({ error: `The node takes only these requests: ${Object.keys(this.#commands).join(', ')}.` })
      }
    } catch {
      socket.destroy() // it is gone, or what it says does not fit a line
    } finally {
      this.#askers.delete(socket)
      gone.abort()
    }
  }
}

/**
 * Asks the node that holds `folder`. The answers end when it has left. Throws `ShoalError` NOT_RUNNING when there
 * is none, REFUSED when it does not take the request, and an `AbortError` when the signal fires.
 */
export async function* askNode<C extends Command>(
  folder: string,
  command: C,
  signal?: AbortSignal
): AsyncGenerator<AnswerTo<C>> {
  const socket = await dial(folder, signal)
  if (socket === undefined) {
    throw new ShoalError('NOT_RUNNING', `No node is running in ${folder}: name its folder with --data-dir.`)
  }
  try {
    socket.write(`${JSON.stringify({ command })}\n`)
    for await (const line of linesOf(socket, MAX_ANSWER)) {
      const answer = parse(COMMANDS[command] as unknown as z.ZodType<AnswerTo<C>>, line)
      if (answer === undefined) {
        const { error } = parse(errorSchema, line) ?? { error: 'The node answers in a way unknown here.' }
        throw new ShoalError('REFUSED', `${error} Ask it with the version of Shoal that it runs.`)
      }
      yield answer
    }
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    if (code !== 'ECONNRESET' && code !== 'EPIPE') throw error // those: it was killed, and so has left, too
  } finally {
    socket.destroy()
  }
}

/**
 * Undefined where another node has it. The system frees it when a process ends, however it ends. A socket alone
 * would not do: of some that start at once in a dead node's folder, two could each take the other's for the dead one.
 */
function lock(folder: string): DatabaseSync | undefined {
  const database = new DatabaseSync(join(folder, 'node.lock'), { timeout: LOCK_MS })
  try {
    database.exec('PRAGMA journal_mode = MEMORY; BEGIN EXCLUSIVE')
    return database
  } catch (error) {
    database.close()
    if ((error as { errcode?: number }).errcode === SQLITE_BUSY) return undefined
    throw error
  }
}

/** Listens for the node of `folder`, whose only node it has to be: what is there is a dead one's. */
async function listen(server: Server, folder: string): Promise<void> {
  const address = socketAddress(await realpath(folder))
  if (!IS_WINDOWS) await rm(address, { force: true })
  server.listen(address)
  await once(server, 'listening')
  if (!IS_WINDOWS) await chmod(address, MODE)
}

/** Undefined where no node listens, or where there is no such folder. */
async function dial(folder: string, signal?: AbortSignal): Promise<Socket | undefined> {
  try {
    const path = socketAddress(await realpath(folder))
    const socket = connect({ path, ...(signal === undefined ? {} : { signal }) })
    await once(socket, 'connect')
    return socket
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    if (code === 'ENOENT' || code === 'ECONNREFUSED') return undefined
    throw error
  }
}

/** What a socket says until its end. Throws when a line is too long. */
async function* linesOf(socket: Socket, longest: number): AsyncGenerator<string> {
  let rest = ''
  for await (const chunk of socket.setEncoding('utf8')) {
    const lines = `${rest}${chunk}`.split('\n')
    if (lines.some((line) => line.length > longest)) throw new ShoalError('LINE', 'a line is too long')
    rest = lines.pop() as string
    yield* lines
  }
}

function socketAddress(realFolder: string): string {
  const hash = createHash('sha256').update(realFolder).digest('hex').slice(0, 32)
  if (IS_WINDOWS) return `\\\\.\\pipe\\shoal-${hash}`
  const inside = join(realFolder, 'node.sock')
  return Buffer.byteLength(inside) <= MAX_PATH_BYTES ? inside : join(tmpdir(), `shoal-${hash}.sock`)
}

function parse<T>(schema: z.ZodType<T>, line: string): T | undefined {
  try {
    return schema.parse(JSON.parse(line))
  } catch {
    return undefined
  }
}
