/** What this node says about itself to everybody, and when. */
import { type Clock, Limits, VERSION } from '../common/index.ts'
import type { Announcement, Coordinate, StageInfo, SwarmHost } from '../net/index.ts'
import { type Announced, contentOf, sealAnnouncement } from './announcement.ts'
import { OWN } from './limits.ts'
import { encodeSeeds, MOST_SEEDS, SEEDS } from './seeds.ts'

/**
 * How often a node says that it is there while a topic is small: changes and goodbyes are said at once, deaths are
 * noticed by whoever uses it, so that this is for who dies unnoticed.
 */
const PERIOD_MS = 120_000
/** All nodes of a topic together say so this often, as RTP's participants do (RFC 3550, 6.2). */
const TOPIC_PER_SECOND = 1
/** A time to live may be 3,600 s. */
const LONGEST_PERIOD_MS = 1_500_000
/** Two periods, jitter included, and a tenth for the way: one may be lost. */
const TTL_PERIODS = 2.4
const JITTER = 0.15
/** What is new, but no hurry: all nodes of a topic together say so twice per second at most. */
const LATER_MS_PER_NODE = 500
/** Changes within this make one announcement; so do accusations. */
const COALESCE_MS = 1_000
/**
 * How far ahead of our clock a sequence may get. Others take ten minutes, and begin to suspect for five; the rest is
 * for clocks that differ.
 */
const AHEAD_MS = 9 * 60_000
/** Of addresses, stages and models that it waits for: what the protocol allows. */
const MOST = 16

/** What a node hosts (also what it loads), and the ids of models that it waits for. */
export interface Content {
  readonly stages: readonly StageInfo[]
  readonly wants: readonly string[]
  /** Models that need somebody, to whose followers it makes its offer. */
  readonly helps?: readonly string[]
  /** Models that it has pieces of for others. */
  readonly seeds?: readonly string[]
  readonly extensions?: Readonly<Record<string, Uint8Array>>
}

const NOTHING: Content = { stages: [], wants: [] }

export interface AnnouncerComponents {
  readonly clock: Clock
  readonly random: () => number
  readonly network: Pick<SwarmHost, 'sign'> & { readonly peerId: string; readonly addresses: string[] }
  /** Spreads it among those who follow these models. */
  readonly publish: (announced: Announced, models: ReadonlySet<string>) => Promise<void>
  /** Nodes that announce themselves to those who follow the model. */
  readonly nodesOf: (model: string) => number
}

export interface AnnouncerInit {
  readonly coordinate?: (() => Coordinate | undefined) | undefined
  /** That this node may take part in a private swarm. */
  readonly certificate?: Uint8Array | undefined
  readonly onError?: ((error: Error) => void) | undefined
}

export class Announcer {
  readonly #components: AnnouncerComponents
  readonly #init: AnnouncerInit
  readonly #limits: Limits
  #content = NOTHING
  #newest: Announced | undefined
  /** The models whose followers heard the last one that was spread, and its sequence. */
  #told: ReadonlySet<string> = new Set()
  #toldSequence = 0
  #sequence = 0
  #madeAt = Number.NEGATIVE_INFINITY
  #madeOf = NOTHING
  /** Of the last one that was spread. */
  #saidAt = Number.NEGATIVE_INFINITY
  #said: string
  #saidOfThese: string
  #isRunning = false
  #timer: { readonly at: number; readonly cancel: () => void } | undefined
  /** One announcement at a time. */
  #making: Promise<void> = Promise.resolve()

  constructor(components: AnnouncerComponents, init: AnnouncerInit = {}) {
    this.#components = components
    this.#init = init
    this.#limits = new Limits(components.clock, OWN)
    this.#said = this.#words(NOTHING)
    this.#saidOfThese = this.#said
  }

  get content(): Content {
    return this.#content
  }

  /** Says it at once, if others have to know it, and later, if it is anything new: the later, the more there are. */
  announce(content: Content): void {
    this.#content = content
    if (this.#isUrgent(content)) this.soon()
    else if (this.#words(content) !== this.#said) this.#at(this.#saidAt + LATER_MS_PER_NODE * this.#nodes)
  }

  /**
   * What is hosted or missing has changed. Demand and offers change all the time: in a large swarm nobody could listen
   * if all said so at once.
   */
  #isUrgent(content: Content): boolean {
    const isNew = [...modelsOf(content)].some((model) => !this.#told.has(model))
    return isNew || this.#words(lasting(content)) !== this.#saidOfThese
  }

  /** Once more, no matter what: within a second, or what others take from one node. */
  soon(): void {
    const { clock } = this.#components
    const wait = Math.max(this.#limits.waitMs(''), this.#saidAt + COALESCE_MS - clock.now(), 0)
    this.#at(clock.now() + wait)
  }

  /** Others have an announcement of ours that we don't know of: from a life in which the clock was ahead. */
  outdo(sequence: number): void {
    if (sequence > this.#sequence) this.refute(sequence)
  }

  /** Somebody says that this node is dead, as of its announcement with this sequence. */
  refute(sequence: number): void {
    const most = Math.max(this.#toldSequence, this.#components.clock.wall() + AHEAD_MS)
    if (sequence < this.#toldSequence || sequence > most) return
    this.#sequence = Math.max(this.#sequence, sequence)
    this.soon()
  }

  /** For who asks this node itself: what is so now. Undefined while there is nothing to say. */
  async fresh(): Promise<Announced | undefined> {
    if (this.#newest === undefined) return undefined
    const isOld = this.#components.clock.now() >= this.#madeAt + COALESCE_MS
    if (isOld || this.#madeOf !== this.#content) await this.#make(this.#content)
    return this.#newest
  }

  start(): void {
    this.#isRunning = true
    if (!isEmpty(this.#content)) this.soon()
  }

  /** Says goodbye. */
  async stop(): Promise<void> {
    this.#isRunning = false
    this.#timer?.cancel()
    this.#timer = undefined
    this.#content = NOTHING
    await this.#say()
  }

  get #addresses(): string[] {
    return this.#components.network.addresses.slice(0, MOST)
  }

  #at(at: number): void {
    if (!this.#isRunning || (this.#timer !== undefined && this.#timer.at <= at)) return
    this.#timer?.cancel()
    const say = (): void => {
      this.#timer = undefined
      void this.#say()
    }
    this.#timer = { at, cancel: this.#components.clock.after(at - this.#components.clock.now(), say) }
  }

  /** Nothing is only said once, to those who heard of something. */
  async #say(): Promise<void> {
    if (isEmpty(this.#content) && this.#told.size === 0) return
    this.#limits.take('')
    const content = this.#content
    this.#saidAt = this.#components.clock.now()
    this.#said = this.#words(content)
    this.#saidOfThese = this.#words(lasting(content))
    await this.#make(content, async (announced) => {
      const models = modelsOf(content)
      const followers = this.#told.union(models)
      this.#told = models
      this.#toldSequence = announced.announcement.sequence
      await this.#components.publish(announced, followers)
    })
    if (!isEmpty(this.#content)) this.#again()
  }

  #again(): void {
    const { clock, random } = this.#components
    this.#at(clock.now() + this.#periodMs * (1 - JITTER + 2 * JITTER * random()))
  }

  get #periodMs(): number {
    return Math.min(Math.max((this.#nodes / TOPIC_PER_SECOND) * 1000, PERIOD_MS), LONGEST_PERIOD_MS)
  }

  /** Of the largest of its topics. */
  get #nodes(): number {
    return Math.max(0, ...[...modelsOf(this.#content)].map(this.#components.nodesOf))
  }

  #make(content: Content, publish?: (announced: Announced) => Promise<void>): Promise<void> {
    this.#madeAt = this.#components.clock.now()
    this.#madeOf = content
    this.#making = this.#making
      .then(async () => {
        const { network } = this.#components
        const announced = await sealAnnouncement(this.#next(content), (bytes) => network.sign(bytes))
        this.#newest = isEmpty(content) ? undefined : announced
        await publish?.(announced)
      })
      .catch((error: Error) => this.#init.onError?.(error))
    return this.#making
  }

  #next(content: Content): Announcement {
    const { clock, network } = this.#components
    const { coordinate, certificate } = this.#init
    this.#sequence = Math.max(Math.floor(clock.wall()), this.#sequence + 1)
    return {
      ...this.#worded(content),
      ...{ peer: network.peerId, sequence: this.#sequence },
      ttlSeconds: Math.ceil((this.#periodMs * TTL_PERIODS) / 1000),
      coordinate: coordinate?.(),
      certificate: certificate ?? new Uint8Array()
    }
  }

  /** Equal where the same models' followers would be told the same. */
  #words(content: Content): string {
    return contentOf(this.#worded(content)) + [...modelsOf(content)]
  }

  #worded(content: Content): Pick<Announcement, 'version' | 'addresses' | 'stages' | 'wants' | 'extensions'> {
    const { stages, wants, seeds = [], extensions } = content
    const seeding: Announcement['extensions'] = seeds.length === 0 ? {} : { [SEEDS]: encodeSeeds(seeds) }
    return {
      ...{ version: VERSION, addresses: this.#addresses },
      ...{ stages: stages.slice(0, MOST), wants: wants.slice(0, MOST) },
      extensions: isEmpty(content) ? {} : { ...extensions, ...seeding } // a goodbye offers nothing
    }
  }
}

/** Without what changes all the time. */
function lasting({ stages, wants, seeds = [] }: Content): Content {
  return { stages: stages.map((stage) => ({ ...stage, demand: undefined, speed: undefined })), wants, seeds }
}

/** Whose followers are told. */
export function modelsOf({ stages, wants, helps = [], seeds = [] }: Content): Set<string> {
  return new Set([...stages.map(({ model }) => model), ...wants, ...helps, ...seeds.slice(0, MOST_SEEDS)])
}

function isEmpty(content: Content): boolean {
  return modelsOf(content).size === 0
}
