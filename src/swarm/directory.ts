/** What a node knows of the others: their newest announcements, each for as long as its time to live. */
import type { Clock } from '../common/index.ts'
import type { AgedAnnouncement, Announcement } from '../net/index.ts'
import { type Announced, isGoodbye } from './announcement.ts'
import type { HostedStage } from './discover.ts'
import { Groups } from './groups.ts'
import type { Offer } from './placement-offer.ts'
import { Tombstones } from './tombstones.ts'

export const MAX_NODES = 20_000
/** Of announcements as they came; what they say of 400 bytes each, and of 16 KiB where somebody wants to fill us up. */
const MAX_BYTES = 16 * 1024 * 1024
/** Who has many identities rarely has many networks. A university has more nodes in one, but not by much. */
export const MAX_PER_SUBNET = 64
/** For nodes without an address of their own: they are counted together, but not limited until all is full. */
const NO_SUBNET: readonly string[] = ['']
/** Clocks of people's machines are off by minutes, not more. */
export const CLOCK_GRACE_MS = 10 * 60_000
/** An answer may have 4 MiB; summaries are in it, too. */
const MAX_ANSWER_BYTES = 3 * 1024 * 1024
/** Of protobuf around an announcement, its signature and age. */
const BYTES_AROUND = 96
/** Nodes are forgotten in groups, by the second, so that a directory needs one timer. */
const SECOND_MS = 1_000

/** What became of an announcement; `stale`: older than what is known, or than it may be, or the same. */
export type Applied = 'new' | 'changed' | 'renewed' | 'stale' | 'limited'
export type Change = 'new' | 'changed' | 'gone'
export type ChangeListener = (peer: string, change: Change) => void

interface Entry {
  readonly peer: string
  announced: Announced
  /** By our clock, as far as its age is known. */
  madeAt: number
  /** When it is forgotten: {@link SECOND_MS} of our clock. */
  second: number
}

export interface DirectoryComponents {
  readonly clock: Clock
  readonly random: () => number
}

/** Of others only: a node's own announcement is its announcer's. */
export class Directory {
  readonly #clock: Clock
  readonly #random: () => number
  readonly #entries = new Map<string, Entry>()
  /** By model. */
  readonly #hosts = new Groups<string, Entry>()
  readonly #waiting = new Groups<string, Entry>()
  readonly #offering = new Groups<string, Entry>()
  readonly #seeding = new Groups<string, Entry>()
  readonly #subnets = new Groups<string, Entry>()
  readonly #seconds = new Groups<number, Entry>()
  readonly #tombstones: Tombstones
  readonly #listeners = new Set<ChangeListener>()
  #bytes = 0
  #timer: { readonly second: number; readonly cancel: () => void } | undefined

  constructor({ clock, random }: DirectoryComponents) {
    this.#clock = clock
    this.#random = random
    this.#tombstones = new Tombstones(clock)
  }

  get size(): number {
    return this.#entries.size
  }

  get nodes(): Announcement[] {
    return [...this.#entries.values()].map(({ announced }) => announced.announcement)
  }

  announcementOf(peer: string): Announcement | undefined {
    return this.get(peer)?.announcement
  }

  get(peer: string): Announced | undefined {
    return this.#entries.get(peer)?.announced
  }

  /** Also of nodes that load them: `stage.state`. */
  stagesOf(model: string): HostedStage[] {
    const stages: HostedStage[] = []
    for (const { announced } of this.#hosts.get(model)) {
      for (const hosted of announced.stages) if (hosted.stage.model === model) stages.push(hosted)
    }
    return stages
  }

  /** Nodes that host some of it. */
  hostsOf(model: string): number {
    return this.#hosts.sizeOf(model)
  }

  /** Nodes that say that they wait for it. */
  waitingFor(model: string): number {
    return this.#waiting.sizeOf(model)
  }

  /** By peer: what nodes could host that decide for themselves, of those who could host some of it. */
  offersOf(model: string): Map<string, Offer> {
    return new Map([...this.#offering.get(model)].map(({ peer, announced }) => [peer, announced.offer]))
  }

  /** Nodes that have pieces of the model for others. */
  seedersOf(model: string): Announcement[] {
    return [...this.#seeding.get(model)].map(({ announced }) => announced.announcement)
  }

  /** Who hosts some of the model, waits for it, could host some or seeds it: most of those who follow it. */
  nodesOf(model: string): Announcement[] {
    return [...new Set(this.#about(model))].map(({ announced }) => announced.announcement)
  }

  /** Models that somebody hosts. */
  get models(): string[] {
    return [...this.#hosts.keys()]
  }

  /** Returns how to stop listening. Nodes that only said the same again are no change. */
  onChange(listener: ChangeListener): () => void {
    this.#listeners.add(listener)
    return () => this.#listeners.delete(listener)
  }

  /** The sequence that an announcement of the peer has to have more than. */
  lastSequenceOf(peer: string): number {
    return this.get(peer)?.announcement.sequence ?? this.#tombstones.sequenceOf(peer)
  }

  apply(announced: Announced, ageSeconds = 0): Applied {
    const { peer, sequence } = announced.announcement
    if (sequence <= this.lastSequenceOf(peer) || !this.#isTimely(announced, ageSeconds)) return 'stale'
    const known = this.#entries.get(peer)
    if (isGoodbye(announced)) {
      this.#bury(announced)
      if (known !== undefined) this.#remove(known, 'gone')
      return 'changed'
    }
    if (known === undefined) {
      if (this.#isFull(announced.subnets) || !this.#makeRoom(announced)) return 'limited'
      const entry = { peer, announced, madeAt: 0, second: 0 }
      this.#entries.set(peer, entry)
      this.#bytes += bytesOf(announced)
      this.#index(entry)
      this.#renew(entry, announced, ageSeconds)
      this.#tell(peer, 'new')
      return 'new'
    }
    const moved = announced.subnets.filter((subnet) => !known.announced.subnets.includes(subnet))
    const growth = bytesOf(announced) - bytesOf(known.announced)
    if (this.#isFull(moved) || this.#bytes + growth > MAX_BYTES) return 'limited'
    if (known.announced.content === announced.content) {
      this.#renew(known, announced, ageSeconds)
      return 'renewed'
    }
    this.#unindex(known)
    this.#renew(known, announced, ageSeconds)
    this.#index(known)
    this.#tell(peer, 'changed')
    return 'changed'
  }

  /** The peer is dead, as of an announcement with this sequence: only a later one brings it back. */
  forget(peer: string, sequence: number): void {
    const entry = this.#entries.get(peer)
    if (entry === undefined || entry.announced.announcement.sequence > sequence) return
    this.#bury(entry.announced)
    this.#remove(entry, 'gone')
  }

  /**
   * For a newcomer: all that is known of these models, of all where none is named; as much as fits, some at random.
   * Those that `omit` says are left out.
   */
  answer(models: readonly string[], omit: (peer: string) => boolean): AgedAnnouncement[] {
    const entries =
      models.length === 0
        ? [...this.#entries.values()]
        : [...new Set(models.flatMap((model) => this.#about(model)))]
    const first = Math.floor(this.#random() * entries.length)
    const answer: AgedAnnouncement[] = []
    let bytes = 0
    for (const { peer, announced, madeAt } of [...entries.slice(first), ...entries.slice(0, first)]) {
      const { sealed } = announced
      bytes += sealed.payload.byteLength + BYTES_AROUND
      if (bytes > MAX_ANSWER_BYTES) break
      const ageSeconds = Math.ceil((this.#clock.now() - madeAt) / 1000)
      if (!omit(peer)) answer.push({ sealed, ageSeconds })
    }
    return answer
  }

  #about(model: string): Entry[] {
    return [this.#hosts, this.#waiting, this.#offering, this.#seeding].flatMap((group) => [
      ...group.get(model)
    ])
  }

  stop(): void {
    this.#timer?.cancel()
    this.#timer = undefined
  }

  /** Its author's clock may be wrong, and who passed it on may lie about its age: both have to agree. */
  #isTimely({ announcement: { sequence, ttlSeconds } }: Announced, ageSeconds: number): boolean {
    const age = this.#clock.wall() - sequence
    return ageSeconds < ttlSeconds && age > -CLOCK_GRACE_MS && age < ttlSeconds * 1000 + CLOCK_GRACE_MS
  }

  #isFull(subnets: readonly string[]): boolean {
    return subnets.some((subnet) => this.#subnets.sizeOf(subnet) >= MAX_PER_SUBNET)
  }

  /** When all is full, the newest of the subnet with the most goes, which may be who asks. */
  #makeRoom(announced: Announced): boolean {
    while (this.size >= MAX_NODES || this.#bytes + bytesOf(announced) > MAX_BYTES) {
      let fullest: ReadonlySet<Entry> = new Set()
      for (const subnet of this.#subnets.values()) if (subnet.size > fullest.size) fullest = subnet
      const isOurs = keysOf(announced).some((subnet) => this.#subnets.sizeOf(subnet) === fullest.size)
      const newest = [...fullest].at(-1)
      if (isOurs || newest === undefined) return false
      this.#remove(newest, 'gone')
    }
    return true
  }

  #renew(entry: Entry, announced: Announced, ageSeconds: number): void {
    this.#seconds.delete(entry.second, entry)
    this.#bytes += bytesOf(announced) - bytesOf(entry.announced)
    entry.announced = announced
    entry.madeAt = this.#clock.now() - ageSeconds * 1000
    entry.second = Math.floor((entry.madeAt + announced.announcement.ttlSeconds * 1000) / SECOND_MS)
    this.#seconds.add(entry.second, entry)
    if (entry.second < (this.#timer?.second ?? Number.POSITIVE_INFINITY)) this.#schedule(entry.second)
  }

  #schedule(second: number): void {
    this.#timer?.cancel()
    const expire = (): void => {
      this.#timer = undefined
      this.#expire()
    }
    this.#timer = { second, cancel: this.#clock.after(second * SECOND_MS - this.#clock.now(), expire) }
  }

  #expire(): void {
    let next = Number.POSITIVE_INFINITY
    for (const second of [...this.#seconds.keys()]) {
      if (second * SECOND_MS > this.#clock.now()) next = Math.min(next, second)
      else for (const entry of [...this.#seconds.get(second)]) this.#forgetOld(entry)
    }
    if (next < Number.POSITIVE_INFINITY) this.#schedule(next)
  }

  /** Somebody may say its last words again, within the grace that clocks get. */
  #forgetOld(entry: Entry): void {
    this.#bury(entry.announced)
    this.#remove(entry, 'gone')
  }

  #bury({ announcement: { peer, sequence, ttlSeconds } }: Announced): void {
    const ageMs = this.#clock.wall() - sequence
    this.#tombstones.add(peer, sequence, ttlSeconds * 1000 + CLOCK_GRACE_MS - ageMs)
  }

  #remove(entry: Entry, change: Change): void {
    this.#entries.delete(entry.peer)
    this.#seconds.delete(entry.second, entry)
    this.#bytes -= bytesOf(entry.announced)
    this.#unindex(entry)
    this.#tell(entry.peer, change)
  }

  #index(entry: Entry): void {
    for (const model of entry.announced.hosts) this.#hosts.add(model, entry)
    for (const model of entry.announced.waits) this.#waiting.add(model, entry)
    for (const model of entry.announced.offer.keys()) this.#offering.add(model, entry)
    for (const model of entry.announced.seeds) this.#seeding.add(model, entry)
    for (const subnet of keysOf(entry.announced)) this.#subnets.add(subnet, entry)
  }

  #unindex(entry: Entry): void {
    for (const model of entry.announced.hosts) this.#hosts.delete(model, entry)
    for (const model of entry.announced.waits) this.#waiting.delete(model, entry)
    for (const model of entry.announced.offer.keys()) this.#offering.delete(model, entry)
    for (const model of entry.announced.seeds) this.#seeding.delete(model, entry)
    for (const subnet of keysOf(entry.announced)) this.#subnets.delete(subnet, entry)
  }

  #tell(peer: string, change: Change): void {
    for (const listener of this.#listeners) listener(peer, change)
  }
}

function keysOf({ subnets }: Announced): readonly string[] {
  return subnets.length === 0 ? NO_SUBNET : subnets
}

function bytesOf({ sealed }: Announced): number {
  return sealed.payload.byteLength
}
