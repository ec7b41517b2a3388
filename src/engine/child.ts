/** One life of the engine's process: requests in order, replies by id, and what it said when it died. */
import { type ChildProcess, spawn } from 'node:child_process'
import type { Socket } from 'node:net'
import { fileURLToPath } from 'node:url'
import { Channel, type Message } from './channel.ts'
import { EngineError } from './errors.ts'
import { LogFile } from './log-file.ts'
import type { ErrorHead, Request } from './messages.ts'

const WORKER = fileURLToPath(new URL('./worker.ts', import.meta.url))
/** Messages die young: a larger nursery is memory that the model could have. */
const FLAGS = ['--disable-warning=ExperimentalWarning', '--max-semi-space-size=1']
interface Pending {
  resolve(message: Message): void
  reject(error: Error): void
}

export class EngineChild {
  /** Resolves with the reason when the process is gone, whoever ended it, or was abandoned. */
  readonly exited: Promise<string>
  readonly #process: ChildProcess
  readonly #channel: Channel
  readonly #pending = new Map<number, Pending>()
  readonly #log = new LogFile()
  /** The log's end, once the process is gone. */
  #lastLines: string[] | undefined
  /** Why the process is gone. */
  #gone: string | undefined
  #nextId = 1
  #abandoned: (reason: string) => void = () => {}

  /** Throws an EngineError where the system has no room for another process. */
  constructor(onProgress: (fraction: number) => void) {
    this.#process = spawn(process.execPath, [...FLAGS, WORKER], {
      stdio: ['ignore', 'ignore', this.#log.descriptor, 'pipe']
    })
    this.exited = new Promise((resolve) => {
      this.#process.once('close', (code, signal) => resolve(this.#explain(code, signal)))
      this.#process.once('error', (error) => resolve(error.message))
      this.#abandoned = resolve
    })
    void this.exited.then((reason) => {
      this.#gone = reason
      this.#lastLines = this.#log.tail()
      this.#log.close()
      for (const id of this.#pending.keys()) this.#reject(id, deathBy(reason))
    })
    const socket = this.#process.stdio?.[3] as Socket | undefined
    if (socket === undefined) throw new EngineError('DIED', "The engine's process cannot be started.")
    socket.on('error', () => {}) // the exit tells more
    this.#channel = new Channel(socket, (message) => {
      const { id, progress } = message.head as { id?: number; progress?: number }
      if (progress !== undefined) onProgress(progress)
      if (id !== undefined) this.#settle(id, message)
    })
  }

  get pid(): number | undefined {
    return this.#process.pid
  }

  #explain(code: number | null, signal: NodeJS.Signals | null): string {
    const how = signal === null ? `exit code ${code}` : `signal ${signal}`
    const why = this.errorLog()
    return why === '' ? how : `${how}; ${why}`
  }

  /** The lines of the log that speak of errors, at most three. */
  errorLog(): string {
    const telling = /error|fail|assert|abort|unknown|invalid|missing/i
    const lines = this.#lastLines ?? this.#log.tail()
    return lines
      .filter((line) => telling.test(line))
      .slice(-3)
      .join(' / ')
  }

  request(request: Request, parts: readonly ArrayBufferView[] = []): Promise<Message> {
    return new Promise((resolve, reject) => {
      const id = this.#nextId++
      this.#pending.set(id, { resolve, reject })
      if (this.#gone !== undefined) return this.#reject(id, deathBy(this.#gone))
      try {
        this.#channel.send({ id, request }, parts)
      } catch (error) {
        this.#reject(id, new EngineError('INPUT', `The request cannot be sent: ${error}`, { cause: error }))
      }
    })
  }

  #reject(id: number, error: EngineError): void {
    this.#pending.get(id)?.reject(error)
    this.#pending.delete(id)
  }

  #settle(id: number, message: Message): void {
    const pending = this.#pending.get(id)
    this.#pending.delete(id)
    const { error } = message.head as { error?: ErrorHead }
    if (error === undefined) pending?.resolve(message)
    else pending?.reject(new EngineError(error.code, error.message))
  }

  /** Ends a process that hangs, without waiting for it: one that a driver holds may take its time to go. */
  abandon(reason: string): void {
    this.#process.kill('SIGKILL')
    this.#abandoned(reason)
  }

  async kill(): Promise<void> {
    this.#process.kill('SIGKILL')
    await this.exited
  }
}

function deathBy(reason: string): EngineError {
  return new EngineError('DIED', `The engine's process is gone: ${reason}`)
}
