/** What a person does with the own node, in its pages. What was decided is kept, for the next start. */
import { type Clock, ShoalError, type Startable } from '../common/index.ts'
import type {
  InviteReport,
  InviteRequest,
  JoinReport,
  JoinRequest,
  LogReport,
  NodeControl,
  NodeReport,
  PullReport,
  PullRequest,
  SettingName,
  SettingsRequest,
  ShareRequest,
  SharingSettings
} from '../gateway/index.ts'
import {
  Availability,
  type AvailabilityRules,
  type Conditions,
  OBSTACLES,
  type Obstacle
} from './availability.ts'
import type { Node } from './node.ts'
import { readLog } from './node-log.ts'
import { logFile } from './paths.ts'
import {
  BY_PERSON,
  machineReport,
  modelReports,
  networkReport,
  sharingReport,
  swarmReport,
  versions
} from './report.ts'
import { DEFAULT_SETTINGS, type SharingFile, writeSharingFile } from './sharing-file.ts'
import { inviteFor, joinWithToken } from './swarm-control.ts'
import { leaveSwarm } from './swarm-file-changes.ts'

/** Switched off: sessions that have somewhere else to go are gone within seconds. */
const OFF_MS = 10_000
/** Disks are looked at this often while somebody looks at the page. */
const DISK_MS = 1_000
/** What is used when blocks are loaded, and not before. */
const AT_START: readonly SettingName[] = ['memoryBytes', 'threads', 'models']

export interface ControlComponents {
  readonly node: Node
  readonly clock: Clock
  readonly conditions: () => Conditions
}

export interface ControlInit {
  readonly dataDir: string
  /** Of the models. */
  readonly store: string
  /** What was decided before. */
  readonly file: SharingFile
  /** What the command line says: it wins. */
  readonly fixed: Partial<SharingSettings>
  /** Nothing outside this machine is to be asked. */
  readonly offline?: boolean | undefined
  readonly report?: ((message: string) => void) | undefined
}

type Slow = Pick<NodeReport, 'models' | 'machine' | 'swarm'>

/** To be started before its node, and stopped after it. */
export class Control implements NodeControl, Startable {
  readonly #components: ControlComponents
  readonly #init: ControlInit
  readonly #availability: Availability
  readonly #since: string
  #file: SharingFile
  /** What sharing was started with. */
  #inEffect: SharingSettings
  #slow: { readonly until: number; readonly report: Promise<Slow> } | undefined
  #writing: Promise<void> = Promise.resolve()

  constructor(components: ControlComponents, init: ControlInit) {
    const { clock, conditions } = components
    this.#components = components
    this.#init = init
    this.#file = init.file
    this.#since = new Date(clock.wall()).toISOString()
    this.#inEffect = this.#settings
    for (const model of init.file.withheld) components.node.library.withheld.add(model)
    this.#availability = new Availability(
      { clock, conditions },
      { rules: () => this.#rules, onChange: (obstacles) => this.#obstructed(obstacles) }
    )
  }

  async start(): Promise<void> {
    await this.#apply()
    await this.#availability.start()
  }

  async stop(): Promise<void> {
    await this.#availability.stop()
    await this.#writing
  }

  get #settings(): SharingSettings {
    return { ...DEFAULT_SETTINGS, ...this.#file.settings, ...this.#init.fixed }
  }

  /** Who has only typed "shoal up" was not asked about batteries. */
  get #rules(): AvailabilityRules {
    const { schedule, idleOnly, onBattery } = this.#settings
    return { schedule, idleOnly, onBattery: onBattery || !this.#file.hasSaidYes }
  }

  #obstructed(obstacles: ReadonlySet<Obstacle>): void {
    const { sharing } = this.#components.node
    for (const obstacle of Object.keys(OBSTACLES) as Obstacle[]) {
      const changed = obstacles.has(obstacle)
        ? sharing.pause(obstacle, OBSTACLES[obstacle])
        : sharing.resume(obstacle)
      void changed.catch((error: Error) => this.#report(error.message))
    }
  }

  #report(message: string): void {
    this.#init.report?.(message)
  }

  async #apply(): Promise<void> {
    const { library, sharing } = this.#components.node
    const { memoryBytes, threads, models, diskBytes, uploadBytesPerSecond, downloadBytesPerSecond } =
      this.#settings
    sharing.configure({
      ...{ memoryBytes: memoryBytes ?? undefined, threads: threads ?? undefined, models: models ?? undefined }
    })
    await library.limit({
      quotaBytes: diskBytes ?? undefined,
      uploadBytesPerSecond: uploadBytesPerSecond ?? undefined,
      downloadBytesPerSecond: downloadBytesPerSecond ?? undefined
    })
  }

  /** Of two that write at the same time, the later one is read at the next start. */
  async #keep(change: Partial<SharingFile>): Promise<void> {
    const file = { ...this.#file, ...change }
    this.#file = file
    const written = this.#writing.then(() => writeSharingFile(this.#init.dataDir, file))
    this.#writing = written.catch(() => {})
    await written
  }

  async report(): Promise<NodeReport> {
    const { node } = this.#components
    const { sharing, contributed } = node
    const settings = this.#settings
    const changed = AT_START.filter((name) => !isSame(settings[name], this.#inEffect[name]))
    return {
      ...{ peer: node.host.peerId, since: this.#since, versions: versions(), dataFolder: this.#init.dataDir },
      sharing: sharingReport(node, this.#file.hasSaidYes),
      contribution: { now: contributed.rates, thisRun: contributed.thisRun, total: contributed.total },
      settings,
      fixed: Object.keys(this.#init.fixed) as SettingName[],
      needRestart: sharing.state === 'off' ? [] : changed,
      ...(await this.#disk()),
      pulls: node.pulls.reports,
      network: networkReport(node)
    }
  }

  /** What takes a look at the disk. */
  #disk(): Promise<Slow> {
    const { node, clock } = this.#components
    const { dataDir, store } = this.#init
    if (this.#slow !== undefined && clock.now() < this.#slow.until) return this.#slow.report
    const look = async (): Promise<Slow> => ({
      models: await modelReports(node),
      machine: await machineReport(store),
      swarm: await swarmReport(node, dataDir)
    })
    this.#slow = { until: clock.now() + DISK_MS, report: look() }
    return this.#slow.report
  }

  async share({ on, ...settings }: ShareRequest): Promise<void> {
    const { sharing } = this.#components.node
    if (on && sharing.state === 'finishing') throw stillFinishing()
    if (Object.keys(settings).length > 0) await this.change(settings)
    await this.#keep({ isOn: on, hasSaidYes: on || this.#file.hasSaidYes })
    if (!on) {
      this.#inBackground(sharing.finish(OFF_MS))
      return
    }
    this.#availability.look()
    await sharing.resume(BY_PERSON)
    if (sharing.state !== 'off') return
    this.#inEffect = this.#settings
    this.#inBackground(sharing.start())
  }

  async pause(): Promise<void> {
    const { sharing } = this.#components.node
    if (sharing.state === 'off')
      throw new ShoalError('OFF', 'Nothing is shared now: there is nothing to pause.')
    if (sharing.state === 'finishing') throw stillFinishing()
    await sharing.pause(BY_PERSON, 'somebody has paused it')
  }

  async resume(): Promise<void> {
    await this.#components.node.sharing.resume(BY_PERSON)
  }

  async finish(): Promise<void> {
    await this.#keep({ isOn: false })
    this.#inBackground(this.#components.node.sharing.finish())
  }

  #inBackground(work: Promise<void>): void {
    work.catch((error: Error) => this.#report(error.message))
  }

  async change(request: SettingsRequest): Promise<void> {
    const given = Object.entries(request).filter(([, value]) => value !== undefined)
    const names = given.map(([name]) => name as SettingName)
    const fixed = names.filter(
      (name) => name in this.#init.fixed && !isSame(request[name], this.#init.fixed[name])
    )
    if (fixed.length > 0) {
      const what = `${fixed.join(', ')} ${fixed.length === 1 ? 'was' : 'were'}`
      throw new ShoalError('FIXED', `${what} given when the node was started, which wins: start it without.`)
    }
    await this.#keep({ settings: { ...this.#file.settings, ...Object.fromEntries(given) } })
    await this.#apply()
    this.#availability.look()
  }

  async pull(request: PullRequest): Promise<PullReport> {
    this.#slow = undefined
    return this.#components.node.pulls.add(request)
  }

  async remove(id: string): Promise<void> {
    const { pulls, library } = this.#components.node
    if (pulls.remove(id)) return
    const store = await library.store
    await this.#known(id)
    await store.remove(id)
    await library.look()
    this.#slow = undefined
  }

  async seed(model: string, isWanted: boolean): Promise<void> {
    const { library } = this.#components.node
    await this.#known(model)
    if (isWanted) library.withheld.delete(model)
    else library.withheld.add(model)
    await this.#keep({ withheld: [...library.withheld] })
    await library.look()
    if (!isWanted) await library.exchange.close(model)
    this.#slow = undefined
  }

  /** Throws a ShoalError MODEL where there is none. */
  async #known(id: string): Promise<void> {
    const models = await (await this.#components.node.library.store).list()
    if (models.some((model) => model.id === id)) return
    throw new ShoalError(
      'MODEL',
      `"${id.slice(0, 64)}" is no model on this disk, and none that is being fetched.`
    )
  }

  async logs(lines: number): Promise<LogReport> {
    const signal = new AbortController().signal
    const read = readLog(logFile(this.#init.dataDir), { count: lines, follow: false, signal })
    return { lines: await Array.fromAsync(read) }
  }

  async invite(request: InviteRequest): Promise<InviteReport> {
    this.#slow = undefined
    return inviteFor(this.#components.node, this.#init.dataDir, request)
  }

  async join({ token }: JoinRequest, signal: AbortSignal): Promise<JoinReport> {
    const { dataDir, offline = false } = this.#init
    this.#slow = undefined
    return { swarm: await joinWithToken(dataDir, token, { offline, signal }), needsRestart: true }
  }

  async leave(): Promise<JoinReport> {
    this.#slow = undefined
    await leaveSwarm(this.#init.dataDir)
    return { swarm: { kind: 'local' }, needsRestart: true }
  }
}

function stillFinishing(): ShoalError {
  return new ShoalError(
    'FINISHING',
    'Answers of others are still ending: wait until they have, two minutes at most.'
  )
}

/** Of plain values. */
function isSame(a: unknown, b: unknown): boolean {
  return JSON.stringify(a) === JSON.stringify(b)
}
