/** What others had of this node: counted here, kept in its folder, and vouched for by nobody else. */
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { z } from 'zod'
import { type Clock, replaceFile, type Startable } from '../common/index.ts'
import type { Contribution } from '../gateway/index.ts'
import type { ComputedRows } from '../stage/index.ts'

/** What a crash loses at most. */
const WRITE_MS = 60_000
/** How exact the time of sharing is, and how often rates move. */
const TICK_MS = 2_000
/** Rates are those of so many ticks. */
const MARKS = 5
const ROWS_PER_KARMA = 1_000
/** Models whose bytes are remembered; strangers can't add any. */
const MAX_MODELS = 4_096

const amount = z.number().min(0).default(0)
const schema = z.object({
  sessions: amount,
  blockTokens: amount,
  seconds: amount,
  /** By the model's id. */
  bytesSent: z.record(z.string().max(64), amount).default({})
})

type Counts = z.infer<typeof schema>

export interface ContributedComponents {
  readonly clock: Clock
  /** Since the node started, by the model's id. */
  readonly bytesSent: () => ReadonlyMap<string, number>
  readonly isSharing: () => boolean
}

export interface ContributedInit {
  /** Undefined: nothing is kept. */
  readonly folder: string | undefined
}

interface Mark {
  readonly at: number
  readonly blockTokens: number
  readonly bytesSent: number
}

export class Contributed implements Startable {
  readonly #components: ContributedComponents
  readonly #init: ContributedInit
  readonly #now = { sessions: 0, blockTokens: 0, seconds: 0 }
  /** Of all earlier runs. */
  #before: Counts = schema.parse({})
  readonly #marks: Mark[] = []
  #isStarted = false
  #writing: Promise<void> = Promise.resolve()
  readonly #cancels = { tick: (): void => {}, write: (): void => {} }

  constructor(components: ContributedComponents, init: ContributedInit) {
    this.#components = components
    this.#init = init
  }

  /** A file that is damaged is no reason not to start: it begins at nothing again. */
  async start(): Promise<void> {
    const { folder } = this.#init
    if (folder === undefined) return
    const text = await readFile(pathIn(folder), 'utf8').catch(() => '{}')
    this.#before = schema.safeParse(parse(text)).data ?? this.#before
    this.#isStarted = true
    this.#tickLater()
    this.#writeLater()
  }

  async stop(): Promise<void> {
    this.#cancels.tick()
    this.#cancels.write()
    if (this.#isStarted) this.#write()
    this.#isStarted = false
    await this.#writing
  }

  computed({ rows, blocks, isFirst }: ComputedRows): void {
    this.#now.blockTokens += rows * blocks
    if (isFirst) this.#now.sessions += 1
  }

  get thisRun(): Contribution {
    return contribution({ ...this.#now, bytesSent: Object.fromEntries(this.#components.bytesSent()) })
  }

  get total(): Contribution {
    return contribution(this.#counts)
  }

  /** Of a model's pieces, ever. */
  bytesSentOf(model: string): number {
    return (this.#before.bytesSent[model] ?? 0) + (this.#components.bytesSent().get(model) ?? 0)
  }

  /** Over the last seconds. */
  get rates(): { readonly blockTokensPerSecond: number; readonly bytesSentPerSecond: number } {
    const [first, last] = [this.#marks[0], this.#marks.at(-1)]
    const seconds = ((last?.at ?? 0) - (first?.at ?? 0)) / 1_000
    if (first === undefined || last === undefined || seconds <= 0) {
      return { blockTokensPerSecond: 0, bytesSentPerSecond: 0 }
    }
    return {
      blockTokensPerSecond: Math.round((last.blockTokens - first.blockTokens) / seconds),
      bytesSentPerSecond: Math.round((last.bytesSent - first.bytesSent) / seconds)
    }
  }

  get #counts(): Counts {
    const { sessions, blockTokens, seconds, bytesSent } = this.#before
    const models = [...new Set([...Object.keys(bytesSent), ...this.#components.bytesSent().keys()])]
    return {
      sessions: sessions + this.#now.sessions,
      blockTokens: blockTokens + this.#now.blockTokens,
      seconds: seconds + this.#now.seconds,
      bytesSent: Object.fromEntries(
        models.slice(0, MAX_MODELS).map((model) => [model, this.bytesSentOf(model)])
      )
    }
  }

  #tickLater(): void {
    const { clock, isSharing } = this.#components
    this.#cancels.tick = clock.after(TICK_MS, () => {
      if (isSharing()) this.#now.seconds += TICK_MS / 1_000
      const { blockTokens, bytesSent } = this.thisRun
      this.#marks.push({ at: clock.now(), blockTokens, bytesSent })
      if (this.#marks.length > MARKS) this.#marks.shift()
      this.#tickLater()
    })
  }

  #writeLater(): void {
    this.#cancels.write = this.#components.clock.after(WRITE_MS, () => {
      this.#write()
      this.#writeLater()
    })
  }

  #write(): void {
    const { folder } = this.#init
    if (folder === undefined) return
    const text = JSON.stringify(this.#counts)
    // A full disk is no reason to end.
    this.#writing = this.#writing.then(() => replaceFile(pathIn(folder), text)).catch(() => {})
  }
}

function contribution({ sessions, blockTokens, seconds, bytesSent }: Counts): Contribution {
  return {
    ...{ sessions, blockTokens, seconds, karma: blockTokens / ROWS_PER_KARMA },
    bytesSent: Object.values(bytesSent).reduce((sum, bytes) => sum + bytes, 0)
  }
}

function pathIn(folder: string): string {
  return join(folder, 'contribution.json')
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}
