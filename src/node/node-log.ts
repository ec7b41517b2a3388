/**
 * What a node writes down while it runs: lines of JSON in one file, and one older file. Written at once, since what was
 * said last before a crash matters most; a node says little. (Pino's rotation lives in a thread that a crash ends first.)
 */
import { appendFileSync, renameSync, statSync } from 'node:fs'
import { open, readFile, stat } from 'node:fs/promises'
import { dirname } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { z } from 'zod'
import { makeFolder, readRange } from '../common/index.ts'
import type { HostLogger } from '../net/index.ts'

/** Then it becomes the older one: weeks of a node that nobody attacks, and nothing beside a model. */
const MAX_BYTES = 4 * 1024 * 1024
/** What strangers make a node say can be long. */
const MAX_MESSAGE = 2_000
const ONLY_OWNER = 0o600
/** How often it is looked for more. */
const FOLLOW_MS = 250

const LEVELS = ['debug', 'info', 'warn', 'error'] as const
const line = z.object({ time: z.string(), level: z.enum(LEVELS), message: z.string() })

export type LogLine = z.infer<typeof line>
type Level = LogLine['level']

export interface NodeLogInit {
  readonly path: string
  /** What is less is not written. */
  readonly level: Level
  readonly maxBytes?: number
}

export class NodeLog implements HostLogger {
  readonly #init: NodeLogInit
  readonly #least: number
  #bytes: number | undefined

  constructor(init: NodeLogInit) {
    this.#init = init
    this.#least = LEVELS.indexOf(init.level)
  }

  readonly debug = (message: string): void => this.#write('debug', message)
  readonly info = (message: string): void => this.#write('info', message)
  readonly warn = (message: string): void => this.#write('warn', message)
  readonly error = (message: string): void => this.#write('error', message)

  #write(level: Level, message: string): void {
    if (LEVELS.indexOf(level) < this.#least) return
    const entry = { time: new Date().toISOString(), level, message: message.slice(0, MAX_MESSAGE) }
    try {
      this.#append(`${JSON.stringify(entry)}\n`)
    } catch {
      // A full disk is no reason to end.
    }
  }

  #append(text: string): void {
    const { path, maxBytes = MAX_BYTES } = this.#init
    if (this.#bytes === undefined) makeFolder(dirname(path))
    this.#bytes ??= statSync(path, { throwIfNoEntry: false })?.size ?? 0
    if (this.#bytes > 0 && this.#bytes + text.length > maxBytes) {
      renameSync(path, olderLog(path))
      this.#bytes = 0
    }
    appendFileSync(path, text, { mode: ONLY_OWNER })
    this.#bytes += Buffer.byteLength(text)
  }
}

function olderLog(path: string): string {
  return `${path}.1`
}

export interface ReadLogOptions {
  /** The last so many lines. */
  readonly count: number
  /** Then those that come. */
  readonly follow: boolean
  /** Ends it, without an error. */
  readonly signal: AbortSignal
}

/** What a node has written; nothing where none has. */
export async function* readLog(
  path: string,
  { count, follow, signal }: ReadLogOptions
): AsyncGenerator<LogLine> {
  const now = await textOf(path)
  const lines = [...linesOf(await textOf(olderLog(path))), ...linesOf(now)]
  if (count > 0) yield* lines.slice(-count)
  if (!follow) return
  let place: Place = {
    file: await fileOf(path),
    offset: Buffer.byteLength(now.slice(0, now.lastIndexOf('\n') + 1))
  }
  while (!signal.aborted) {
    const { text, next } = await after(path, place)
    place = next
    yield* linesOf(text)
    if (text === '') await delay(FOLLOW_MS, undefined, { signal }).catch(() => {})
  }
}

/** How far a file was read; undefined where there was none. */
interface Place {
  readonly file: bigint | undefined
  readonly offset: number
}

/** Whole lines after a place: first those of a file that has become the older one. */
async function after(path: string, { file, offset }: Place): Promise<{ text: string; next: Place }> {
  const current = await fileOf(path)
  const isMoved = file !== undefined && current !== file
  const [from, begin] = isMoved ? [olderLog(path), offset] : [path, file === undefined ? 0 : offset]
  const bytes = await bytesFrom(from, begin)
  const whole = bytes.subarray(0, bytes.lastIndexOf(0x0a) + 1)
  const next = isMoved ? { file: current, offset: 0 } : { file: current, offset: begin + whole.length }
  return { text: whole.toString(), next }
}

async function fileOf(path: string): Promise<bigint | undefined> {
  return (await stat(path, { bigint: true }).catch(() => undefined))?.ino
}

async function textOf(path: string): Promise<string> {
  return readFile(path, 'utf8').catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return ''
    throw error
  })
}

async function bytesFrom(path: string, offset: number): Promise<Buffer> {
  const file = await open(path).catch(() => undefined)
  if (file === undefined) return Buffer.alloc(0)
  try {
    const { size } = await file.stat()
    return Buffer.from(await readRange(file, offset, Math.max(0, size - offset)))
  } finally {
    await file.close()
  }
}

/** What is no line of a log is passed over: a full disk may have cut one. */
function linesOf(text: string): LogLine[] {
  return text.split('\n').flatMap((each) => {
    try {
      return [line.parse(JSON.parse(each))]
    } catch {
      return []
    }
  })
}
