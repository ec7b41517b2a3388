/** Models that a person had fetched from a page: a few at a time, in the background, with how far each is. */
import { ShoalError, type Startable } from '../common/index.ts'
import type { PullReport, PullRequest, PullState } from '../gateway/index.ts'
import { type PartName, partsOf, resolveName } from '../models/index.ts'
import type { Library, NamedModel } from './library.ts'

/** More at once would only make each slower. */
const AT_ONCE = 2
/** A person looks at some; others are a mistake. */
const MAX_RUNNING = 32
/** Those that have ended and are still told. */
const MAX_ENDED = 20

export interface PullsComponents {
  readonly library: Pick<Library, 'find' | 'fetch'>
}

interface Pull {
  readonly request: PullRequest
  readonly abort: AbortController
  report: PullReport
}

export class Pulls implements Startable {
  readonly #library: PullsComponents['library']
  /** The latest last. */
  readonly #pulls: Pull[] = []
  readonly #running = new Set<Promise<void>>()
  #count = 0
  #isStopped = false

  constructor({ library }: PullsComponents) {
    this.#library = library
  }

  async start(): Promise<void> {}

  /** What has come is kept. */
  async stop(): Promise<void> {
    this.#isStopped = true
    for (const { abort } of this.#pulls) abort.abort()
    await Promise.all(this.#running)
  }

  /** The latest first. */
  get reports(): PullReport[] {
    return this.#pulls.map(({ report }) => report).reverse()
  }

  isFetching(model: string): boolean {
    return this.#pulls.some(({ report }) => report.model === model && isRunning(report.state))
  }

  /** One that runs already, if so. Throws a ShoalError NAME for what is no name, TOO_MANY where too many run. */
  add(request: PullRequest): PullReport {
    resolveName(request.name)
    const running = this.#pulls.filter(({ report }) => isRunning(report.state))
    const same = running.find(({ report }) => report.name === request.name)
    if (same !== undefined) return same.report
    if (running.length >= MAX_RUNNING) {
      throw new ShoalError('TOO_MANY', `${MAX_RUNNING} models are being fetched: wait for some of them.`)
    }
    this.#count += 1
    const report: PullReport = {
      ...{ id: `pull-${this.#count}`, name: request.name, state: 'waiting', bytes: 0, totalBytes: 0 }
    }
    this.#pulls.push({ request, report, abort: new AbortController() })
    this.#next()
    this.#forget()
    return this.#pulls.at(-1)?.report ?? report
  }

  /** By its id, or its model's while it runs. Cancels it while it runs, forgets it afterwards. False: there is none. */
  remove(id: string): boolean {
    const index = this.#pulls.findIndex(
      ({ report }) => report.id === id || (report.model === id && isRunning(report.state))
    )
    const pull = this.#pulls[index]
    if (pull === undefined) return false
    if (isRunning(pull.report.state)) this.#cancel(pull)
    else this.#pulls.splice(index, 1)
    return true
  }

  #cancel(pull: Pull): void {
    pull.abort.abort()
    pull.report = ended(pull.report, 'cancelled')
    this.#next()
  }

  #next(): void {
    if (this.#isStopped) return
    for (const pull of this.#pulls) {
      if (this.#running.size >= AT_ONCE) return
      if (pull.report.state !== 'waiting') continue
      pull.report = { ...pull.report, state: 'finding' }
      const run = this.#run(pull).finally(() => {
        this.#running.delete(run)
        this.#next()
      })
      this.#running.add(run)
    }
  }

  async #run(pull: Pull): Promise<void> {
    const { signal } = pull.abort
    const { name, blocks } = pull.request
    const tell = (change: Partial<PullReport>): void => {
      if (!signal.aborted) pull.report = { ...pull.report, ...change }
    }
    try {
      const model = await this.#library.find(name, { signal })
      const parts = partsWanted(model, blocks)
      tell({ state: 'fetching', model: model.id, totalBytes: bytesOf(model, parts) })
      await this.#library.fetch(model, parts, {
        signal,
        onProgress: ({ bytes = 0, totalBytes = 0, bytesPerSecond, peers, etaSeconds }) =>
          tell({ bytes, totalBytes, bytesPerSecond, peers, secondsLeft: etaSeconds })
      })
      const { totalBytes } = pull.report
      if (!signal.aborted) pull.report = { ...ended(pull.report, 'done'), bytes: totalBytes }
    } catch (error) {
      if (!signal.aborted) pull.report = { ...ended(pull.report, 'failed'), error: (error as Error).message }
    }
  }

  #forget(): void {
    const done = this.#pulls.filter(({ report }) => !isRunning(report.state))
    for (const pull of done.slice(0, -MAX_ENDED)) this.#pulls.splice(this.#pulls.indexOf(pull), 1)
  }
}

function isRunning(state: PullState): boolean {
  return state === 'waiting' || state === 'finding' || state === 'fetching'
}

/** Rates of what has ended are none. */
function ended({ id, name, model, bytes, totalBytes }: PullReport, state: PullState): PullReport {
  return { id, name, model, state, bytes, totalBytes }
}

/** As `partsOf` has them. Throws a ShoalError SPAN for blocks that it does not have. */
export function partsWanted({ manifest, name }: NamedModel, range: PullRequest['blocks']): Set<PartName> {
  const { items, blockCount } = manifest
  if (range === undefined) return new Set(items.map(({ part }) => part))
  if (range.end <= blockCount) return partsOf(items, range, blockCount)
  const all = `it has the blocks 0-${blockCount}`
  throw new ShoalError('SPAN', `There are no blocks ${range.start}-${range.end} in ${name}: ${all}.`)
}

function bytesOf({ manifest }: NamedModel, parts: ReadonlySet<PartName>): number {
  const wanted = manifest.items.filter(({ part }) => parts.has(part))
  return wanted.reduce((sum, { byteLength }) => sum + byteLength, 0)
}
