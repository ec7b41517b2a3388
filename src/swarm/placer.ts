import type { Clock, Startable } from '../common/index.ts'
import type { HostedStage } from './discover.ts'
import { type Decision, decide, type Move } from './placement.ts'
import { encodeOffer, type Offer } from './placement-offer.ts'
import { type Caps, type HostableModel, reach, roomOf, type Span } from './placement-sizes.ts'

/** What a node's directory knows. */
export interface Surroundings {
  /** Everybody's stages, those that are loading, too. */
  readonly stages: readonly HostedStage[]
  /** By peer, as their announcements have it: of those who could host some of the model. */
  readonly offersOf: (model: string) => ReadonlyMap<string, Offer>
}

export interface PlacerComponents {
  readonly clock: Clock
  /** From 0 to 1. */
  readonly random: () => number
  readonly surroundings: () => Surroundings
  /** Sessions per minute that a model is asked for, those included that wait for it. */
  readonly demand: (model: string) => number
  /**
   * Say to everybody, at once, that this span is being loaded, and nothing else is hosted any more; undefined: that
   * nothing is. The placer's `offer` belongs into every announcement, and may have changed, too.
   */
  readonly announce: (span: Span | undefined) => void
  /** Let go of what is hosted and host this. Resolves when it is ready and announced; rejects when nothing is hosted. */
  readonly host: (span: Span, signal: AbortSignal) => Promise<void>
}

export interface PlacerInit {
  /** This node's peer id. */
  readonly self: string
  readonly caps: () => Caps
  /** What this node has the files of, or could get. */
  readonly hostable: () => readonly HostableModel[]
}

/** Besides being told of changes: demand changes without a word, and announcements run out. */
const LOOK_MS = 30_000
/** Changes come in crowds, when a directory comes or many move. A large swarm changes all the time, and takes longer to look at. */
const CROWD_MS = 250
const CROWD_MS_PER_STAGE = 20
const LONGEST_CROWD_MS = 15_000
/** Those who complete a chain don't act at the same time, and whoever is the second sees what the first has done. */
const URGENT_MS = 2_000
/** Whoever has something to give up first sees what those do who have not, and that nobody was taken for dead in error. */
const BUSY_MS = 2_000
/** A first copy is no hurry. */
const COPY_MS = 10_000
/** Thousands may find out in the same moment that something else is wanted more. */
const MOVE_MS = 60_000
/** Between moves that only make things better: sessions have to be able to rely on a node. */
const SETTLED_MS = 10 * 60_000
/** Time that others have for their part of a chain, beside what they take to look: to hear of it, and the delays above. */
const TURN_MS = 6_000
/** Whoever let it pass is not counted on for so long. */
const PASSIVE_MS = 5 * 60_000
/** Blocks that are loading for longer are not counted on any more: they may never come. */
const LOADING_MS = 10 * 60_000
/** After a span that could not be loaded, doubled each time. */
const RETRY_MS = 30_000
const LONGEST_RETRY_MS = 30 * 60_000

/** Has a node host what its swarm needs most: looks, waits a little, looks again, and moves. */
export class Placer implements Startable {
  readonly #components: PlacerComponents
  readonly #init: PlacerInit
  #current: Span | undefined
  #status = 'not started'
  #isRunning = false
  #loading: AbortController | undefined
  /** Before it, moves have to be urgent. */
  #settledUntil = Number.NEGATIVE_INFINITY
  /** It was told what to host. */
  #isAssigned = false
  /** By peer: since when it is its turn. */
  #turns = new Map<string, number>()
  /** By peer: until when it is not counted on. */
  readonly #passive = new Map<string, number>()
  /** By peer and span, what others load: since when. */
  #loads = new Map<string, number>()
  /** By model: what went wrong with it. */
  readonly #failures = new Map<string, { count: number; until: number }>()
  #pending: { readonly isUrgent: boolean; readonly cancel: () => void } | undefined
  #crowdMs = CROWD_MS
  #cancelLook: (() => void) | undefined
  #cancelSoon: (() => void) | undefined

  constructor(components: PlacerComponents, init: PlacerInit) {
    this.#components = components
    this.#init = init
  }

  /** To be called when the directory has been asked for: whoever knows nobody begins at block 0. */
  async start(): Promise<void> {
    this.#isRunning = true
    this.#look()
  }

  /** What is being loaded is given up; what is hosted stays. */
  async stop(): Promise<void> {
    this.#isRunning = false
    this.#status = 'not started'
    this.#cancelPending()
    this.#cancelLook?.()
    this.#cancelSoon?.()
    this.#cancelSoon = undefined
    this.#loading?.abort()
  }

  /** What the node holds or loads. */
  get current(): Span | undefined {
    return this.#current
  }

  /** In plain words: what it is about to do, what it waits for, or why it stays. */
  get status(): string {
    return this.#status
  }

  /** To be announced, under the name OFFER. */
  get offer(): Uint8Array {
    const caps = this.#init.caps()
    return encodeOffer(new Map(this.#hostable().map((model) => [model.model, roomOf(model, caps)])))
  }

  /** The directory, the demand, the models or the caps have changed. */
  changed(): void {
    if (!this.#isRunning || this.#cancelSoon !== undefined) return
    this.#cancelSoon = this.#components.clock.after(this.#crowdMs, () => {
      this.#cancelSoon = undefined
      this.#look()
    })
  }

  /** Host this at once; from then on only a chain that breaks makes the node move. Gives a refusal's reason. */
  assign(span: Span): string | undefined {
    const model = this.#hostable().find(({ model }) => model === span.model)
    if (!this.#isRunning) return 'this node does not host anything now'
    if (model === undefined) return 'this node does not have the model'
    if (this.#loading !== undefined) return 'this node is loading something else: try again'
    const most = reach(model, roomOf(model, this.#init.caps()))[span.start] ?? 0
    if (span.start >= span.end || span.end > most) return 'it is too much for what this node may use'
    this.#isAssigned = true
    const { start, end } = this.#current ?? {}
    if (this.#current?.model === span.model && start === span.start && end === span.end) return undefined
    void this.#take(span)
    return undefined
  }

  #look(): void {
    if (!this.#isRunning) return
    this.#cancelLook?.()
    const { clock, random } = this.#components
    this.#cancelLook = clock.after(LOOK_MS * (0.8 + 0.4 * random()), () => this.#look())
    if (this.#loading === undefined) this.#consider(this.#decide())
  }

  /** What it does now, or after a delay. */
  #consider({ move, status }: Decision): void {
    const obstacle = move === undefined ? undefined : this.#obstacle(move)
    this.#status = obstacle === undefined ? status : `${status}; ${obstacle}`
    const isWaiting = move !== undefined && obstacle === undefined
    if (isWaiting && this.#pending !== undefined && (this.#pending.isUrgent || !move.isUrgent)) return
    this.#cancelPending()
    if (!isWaiting) return
    const { isUrgent } = move
    const { clock, random } = this.#components
    const delayMs = this.#delay(move) * random() + this.#leastDelay(move)
    this.#pending = { isUrgent, cancel: clock.after(delayMs, () => this.#act(isUrgent)) }
  }

  /** If the reason still holds, or there is a better one. */
  #act(wasUrgent: boolean): void {
    this.#pending = undefined
    const decision = this.#decide()
    const { move } = decision
    const isDue = move !== undefined && this.#obstacle(move) === undefined && (move.isUrgent || !wasUrgent)
    if (isDue) void this.#take(move.span)
    else this.#consider(decision)
  }

  #delay({ isUrgent }: Move): number {
    if (isUrgent) return URGENT_MS
    return this.#current === undefined ? COPY_MS : MOVE_MS
  }

  #leastDelay({ isUrgent }: Move): number {
    return isUrgent && this.#current !== undefined ? BUSY_MS : 0
  }

  #obstacle({ isUrgent }: Move): string | undefined {
    if (isUrgent || this.#current === undefined) return undefined
    if (this.#isAssigned) return 'but it was told to host what it does'
    const leftMs = this.#settledUntil - this.#components.clock.now()
    return leftMs > 0 ? `in ${Math.ceil(leftMs / 60_000)} min at the earliest` : undefined
  }

  #cancelPending(): void {
    this.#pending?.cancel()
    this.#pending = undefined
  }

  #decide(): Decision {
    const { surroundings, demand, clock, random } = this.#components
    const { self, caps } = this.#init
    const { stages, offersOf } = surroundings()
    this.#crowdMs = Math.min(CROWD_MS + CROWD_MS_PER_STAGE * stages.length, LONGEST_CROWD_MS)
    const now = clock.now()
    forget(this.#passive, (until) => until <= now)
    const decision = decide({
      ...{ self, caps: caps(), hostable: this.#hostable(), stages: this.#likely(stages), offersOf, demand },
      ...{ current: this.#current, passive: new Set(this.#passive.keys()), draw: random() }
    })
    this.#watch(decision.awaited)
    return decision
  }

  /** What went wrong with a model is not tried again at once. */
  #hostable(): HostableModel[] {
    const now = this.#components.clock.now()
    return this.#init.hostable().filter(({ model }) => (this.#failures.get(model)?.until ?? 0) <= now)
  }

  /** Without what others have been loading for too long. */
  #likely(stages: readonly HostedStage[]): HostedStage[] {
    const now = this.#components.clock.now()
    const loads = new Map<string, number>()
    const likely = stages.filter(({ peer, stage: { state, model, start, end } }) => {
      if (state !== 'loading') return true
      const key = `${peer} ${model} ${start} ${end}`
      const since = this.#loads.get(key) ?? now
      loads.set(key, since)
      return now - since < LOADING_MS
    })
    this.#loads = loads
    return likely
  }

  /** Whoever lets its turn pass is not counted on from then on. */
  #watch(awaited: readonly string[]): void {
    const { clock } = this.#components
    const now = clock.now()
    const turnMs = TURN_MS + this.#crowdMs
    const before = this.#turns
    this.#turns = new Map(awaited.map((peer) => [peer, before.get(peer) ?? now]))
    for (const [peer, since] of this.#turns) {
      if (since === now) clock.after(turnMs, () => this.changed())
      if (now - since < turnMs) continue
      this.#passive.set(peer, now + PASSIVE_MS)
      this.changed()
    }
  }

  async #take(span: Span): Promise<void> {
    const { clock, announce, host } = this.#components
    this.#cancelPending()
    const loading = new AbortController()
    this.#loading = loading
    this.#current = span
    this.#settledUntil = clock.now() + SETTLED_MS
    this.#status = `loading blocks ${span.start}-${span.end} of ${this.#nameOf(span)}`
    announce(span)
    try {
      await host(span, loading.signal)
      this.#failures.delete(span.model)
    } catch {
      this.#failed(span, loading.signal.aborted)
    } finally {
      this.#loading = undefined
    }
    this.changed()
  }

  #failed({ model }: Span, wasAborted: boolean): void {
    this.#current = undefined
    this.#isAssigned = false
    if (!wasAborted) {
      const count = (this.#failures.get(model)?.count ?? 0) + 1
      const pauseMs = Math.min(LONGEST_RETRY_MS, RETRY_MS * 2 ** (count - 1))
      this.#failures.set(model, { count, until: this.#components.clock.now() + pauseMs })
    }
    this.#components.announce(undefined)
  }

  #nameOf({ model }: Span): string {
    return this.#init.hostable().find((one) => one.model === model)?.name ?? model
  }
}

function forget<K, V>(map: Map<K, V>, isOver: (value: V) => boolean): void {
  for (const [key, value] of map) if (isOver(value)) map.delete(key)
}
