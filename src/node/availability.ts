/**
 * Whether a machine can be shared now: by the hour, by its battery, and by what else it has to do. Each has two
 * thresholds, or a time that it has to hold, so that nothing flaps.
 */
import { readdirSync, readFileSync } from 'node:fs'
import { cpus } from 'node:os'
import { join } from 'node:path'
import type { Clock, Startable } from '../common/index.ts'
import type { PauseCause, SharingSettings } from '../gateway/index.ts'

export type AvailabilityRules = Pick<SharingSettings, 'schedule' | 'idleOnly' | 'onBattery'>
export type Obstacle = Exclude<PauseCause, 'person'>

/** A machine, at a moment. */
export interface Conditions {
  /** 0 is Monday. */
  readonly weekday: number
  readonly hour: number
  /** Undefined: nobody can tell, or there is none. */
  readonly isOnBattery?: boolean | undefined
  /** The part of all cores that other programs keep busy, 0 to 1. Undefined: nobody can tell. */
  readonly othersBusy?: number | undefined
}

/** What was judged before, and since when it might be judged otherwise. */
export interface Standing {
  readonly obstacles: ReadonlySet<Obstacle>
  /** By `clock.now()`. */
  readonly doubtSince: Readonly<Partial<Record<Obstacle, number>>>
}

/** More than one program that works: a person's, and not the system's own. */
const BUSY = 0.4
const CALM = 0.2
/** A page that loads is over by then, a game or a build is not. */
const BUSY_MS = 30_000
/** People pause to read and to think. */
const CALM_MS = 120_000
/** Plugs wiggle. */
const PLUGGED_MS = 30_000
const LOOK_MS = 10_000
/** Of Linux, as all its programs see it: clock ticks per second. */
const TICKS = 100

export const NO_OBSTACLE: Standing = { obstacles: new Set(), doubtSince: {} }

export const OBSTACLES: Readonly<Record<Obstacle, string>> = {
  schedule: 'its schedule has no sharing at this hour',
  battery: 'the machine runs on its battery',
  busy: 'other programs keep the processor busy'
}

export function judgeAvailability(
  { schedule, idleOnly, onBattery }: AvailabilityRules,
  { weekday, hour, isOnBattery = false, othersBusy }: Conditions,
  now: number,
  before: Standing
): Standing {
  const obstacles = new Set<Obstacle>()
  const doubtSince: Partial<Record<Obstacle, number>> = {}
  /** It stays as it was judged until it has been otherwise for long enough. */
  const hold = (obstacle: Obstacle, isThere: boolean, waitMs: number): void => {
    const was = before.obstacles.has(obstacle)
    const since = was === isThere ? undefined : (before.doubtSince[obstacle] ?? now)
    const hasChanged = since !== undefined && now - since >= waitMs
    if (since !== undefined && !hasChanged) doubtSince[obstacle] = since
    if (hasChanged ? isThere : was) obstacles.add(obstacle)
  }
  if (schedule !== null && !schedule[weekday]?.includes(hour)) obstacles.add('schedule')
  if (!onBattery) hold('battery', isOnBattery, isOnBattery ? 0 : PLUGGED_MS)
  if (idleOnly && othersBusy !== undefined) {
    const isBusy = othersBusy > (before.obstacles.has('busy') ? CALM : BUSY)
    hold('busy', isBusy, isBusy ? BUSY_MS : CALM_MS)
  }
  return { obstacles, doubtSince }
}

export interface AvailabilityComponents {
  readonly clock: Clock
  /** Looks once. */
  readonly conditions: () => Conditions
}

export interface AvailabilityInit {
  readonly rules: () => AvailabilityRules
  /** Called with all that are in the way, whenever they have changed. */
  readonly onChange: (obstacles: ReadonlySet<Obstacle>) => void
}

/** Looks now and then. */
export class Availability implements Startable {
  readonly #components: AvailabilityComponents
  readonly #init: AvailabilityInit
  #standing: Standing = NO_OBSTACLE
  #cancel: (() => void) | undefined

  constructor(components: AvailabilityComponents, init: AvailabilityInit) {
    this.#components = components
    this.#init = init
  }

  async start(): Promise<void> {
    this.look()
    this.#lookLater()
  }

  async stop(): Promise<void> {
    this.#cancel?.()
  }

  /** To be called when the rules have changed, too. */
  look(): void {
    const { clock, conditions } = this.#components
    const before = this.#standing
    this.#standing = judgeAvailability(this.#init.rules(), conditions(), clock.now(), before)
    const { obstacles } = this.#standing
    const isSame = obstacles.size === before.obstacles.size && obstacles.isSubsetOf(before.obstacles)
    if (!isSame) this.#init.onChange(obstacles)
  }

  #lookLater(): void {
    this.#cancel = this.#components.clock.after(LOOK_MS, () => {
      this.look()
      this.#lookLater()
    })
  }
}

/** Of this machine. What others keep busy, and batteries, can be told on Linux only. */
export function conditionsHere(): () => Conditions {
  let last: { all: number; idle: number; own: number } | undefined
  return () => {
    const date = new Date()
    const now = { ...coreSeconds(), own: ownSeconds() }
    const others =
      last === undefined || now.own === undefined || last.own === undefined || now.all <= last.all
        ? undefined
        : (now.all - last.all - (now.idle - last.idle) - (now.own - last.own)) / (now.all - last.all)
    last = now.own === undefined ? undefined : { ...now, own: now.own }
    return {
      weekday: (date.getDay() + 6) % 7,
      hour: date.getHours(),
      isOnBattery: batteries().some((status) => status === 'Discharging'),
      othersBusy: others === undefined ? undefined : Math.min(1, Math.max(0, others))
    }
  }
}

export function hasBattery(): boolean {
  return batteries().length > 0
}

/** What other programs do can be told here. */
export function canTellIdle(): boolean {
  return ownSeconds() !== undefined
}

/** Their states. Those of mice and headsets have another scope. */
function batteries(folder = '/sys/class/power_supply'): string[] {
  const read = (supply: string, file: string): string => {
    try {
      return readFileSync(join(folder, supply, file), 'utf8').trim()
    } catch {
      return ''
    }
  }
  try {
    return readdirSync(folder)
      .filter((supply) => read(supply, 'type') === 'Battery' && read(supply, 'scope') !== 'Device')
      .map((supply) => read(supply, 'status'))
  } catch {
    return []
  }
}

function coreSeconds(): { all: number; idle: number } {
  const sums = { all: 0, idle: 0 }
  for (const { times } of cpus()) {
    sums.all += Object.values(times).reduce((sum, ms) => sum + ms / 1_000, 0)
    sums.idle += times.idle / 1_000
  }
  return sums
}

/** Of this process and those that it started (engines); undefined where their times can't be read. */
function ownSeconds(): number | undefined {
  try {
    return secondsOf('self')
  } catch {
    return undefined
  }
}

function secondsOf(pid: string): number {
  const stat = readFileSync(`/proc/${pid}/stat`, 'utf8')
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ') // a name may have spaces
  const [user = 0, system = 0, userOfEnded = 0, systemOfEnded = 0] = fields.slice(11, 15).map(Number)
  const children = readdirSync(`/proc/${pid}/task`).flatMap((task) =>
    readFileSync(`/proc/${pid}/task/${task}/children`, 'utf8').split(' ').filter(Boolean)
  )
  const own = (user + system + userOfEnded + systemOfEnded) / TICKS
  return children.reduce((sum, child) => sum + secondsOfOther(child), own)
}

/** It may have ended just now. */
function secondsOfOther(pid: string): number {
  try {
    return secondsOf(pid)
  } catch {
    return 0
  }
}
