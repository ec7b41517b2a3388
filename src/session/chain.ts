/**
 * A session's way through the stages, kept whole while somebody waits for an answer: hops that are lost or leaving
 * are replaced, ways that break between living hops are renewed. Nobody recomputes but the newcomers, who get from
 * the hop before them what it had sent (DESIGN 4: recovery is replay).
 */
import { setTimeout as delay } from 'node:timers/promises'
import { aborted } from '../common/index.ts'
import type { RowCodec, SamplerOptions } from '../net/index.ts'
import type { Outlet } from '../stage/index.ts'
import type { ChainHop } from '../swarm/index.ts'
import { SessionError } from './errors.ts'
import type { Hop, HopEvents, Loss } from './hop.ts'
import { OPEN_MS, Route, type RouteComponents } from './route.ts'
import { Spares, type StageSource } from './spares.ts'

/** How often hops are looked at: a twentieth of the shortest deadline. */
const TICK_MS = 50
/** A hop that lost its next one says so at about the time when that one's end is noticed, which tells more. */
const LAST_WORDS_MS = 100
/** Where nobody can take over, it is looked for again after this; who has not answered then is not waited for. */
const LOOK_AGAIN_MS = 250
const REFRESH_MS = 2_000
/** A stage that is leaving serves until somebody is found. */
const MOVE_AGAIN_MS = 1_000
/** Repairs without a token between them: more are a request that kills stages, not stages that die. */
const MAX_REPAIRS = 16
/** Refusals for what is asked of a stage that is not, or no longer, what it was taken for: time does not help. */
const MISTAKES: ReadonlySet<string> = new Set(['model', 'span', 'profile'])

export interface ChainComponents extends RouteComponents {
  readonly source: StageSource
}

/** What happens to a session's chain. */
export type ChainEvent =
  | { readonly type: 'lost'; readonly hop: ChainHop; readonly reason: string }
  | { readonly type: 'leaving'; readonly hop: ChainHop }
  /** Frames to it go through us. */
  | { readonly type: 'relayed'; readonly hop: ChainHop }
  /** Nobody can take over now. */
  | { readonly type: 'waiting'; readonly reason: string }
  /** The chain is whole again; what newcomers lack is on its way to them. */
  | { readonly type: 'repaired'; readonly hops: readonly ChainHop[] }

export interface ChainInit {
  readonly chain: readonly ChainHop[]
  readonly codec: RowCodec
  readonly reserve: number
  readonly sampler: SamplerOptions
  readonly onEvent: ((event: ChainEvent) => void) | undefined
  readonly drawFrom: () => number
  /** The one that rows are sent in. */
  readonly epoch: () => number
  readonly events: Pick<HopEvents, 'tokens' | 'need'>
  /** Hops have opened, or have more room. */
  readonly onChange: () => void
  readonly onFailed: (error: SessionError) => void
  /** Rows from `position` on have to be computed again by everybody, in an epoch later than `epoch`. */
  readonly onGarbled: (position: number, epoch: number) => void
}

interface Trouble {
  readonly place: ChainHop
  readonly loss: Loss
}

export class Chain {
  readonly #init: ChainInit
  readonly #route: Route
  readonly #spares: Spares
  readonly #life = new AbortController()
  readonly #ticker: NodeJS.Timeout
  #lastTick = performance.now()
  /** How long an answer may wait for somebody who can take over; undefined between answers. */
  #waitMs: number | undefined
  #giveUpAt = 0
  #mending: Promise<void> | undefined
  #hasOpened = false
  #repairs = 0
  /** Stages that found fault with what they got, without a token between them. */
  #objections = 0
  /** Ways on which rows were lost without a word, without a token between them. */
  #stuck = 0
  #failure: SessionError | undefined
  #change = Promise.withResolvers<void>()
  /** The last one, for the error if there is no help. */
  #trouble: Trouble | undefined

  constructor(components: ChainComponents, init: ChainInit) {
    const { codec, reserve, sampler, drawFrom } = init
    this.#init = init
    this.#spares = new Spares(components.source, init.chain[0] as ChainHop, codec)
    const events: HopEvents = {
      ...init.events,
      changed: () => this.#changed(),
      leaving: (hop) => this.#leaving(hop),
      lost: (hop, loss) => this.#lost(hop, loss)
    }
    const onEntry = (): void => this.#changed()
    this.#route = new Route(components, { codec, reserve, sampler, drawFrom, events, onEntry })
    this.#ticker = setInterval(() => this.#tick(), TICK_MS).unref()
  }

  /** What goes to the first hop. */
  get entry(): Outlet {
    return this.#route.entry
  }

  get hops(): readonly Hop[] {
    return this.#route.hops
  }

  /** See Route. */
  get capacity(): number {
    return this.#route.capacity
  }

  /** See Route. */
  extend(reserve: number): void {
    this.#route.extend(reserve)
  }

  /** See Route. */
  fed(): void {
    this.#route.fed()
  }

  /** An answer begins: from now on losses matter at once. */
  activate(waitMs: number): void {
    this.#waitMs = waitMs
    this.#giveUpAt = performance.now() + waitMs
    this.#failure = undefined
    this.advanced()
    if (this.hops.length > 0) this.#trouble = undefined
    for (const hop of this.hops) hop.wake()
    this.#mend()
  }

  /** It has ended: hops that are lost now are replaced when the next one begins. */
  rest(): void {
    this.#waitMs = undefined
    for (const hop of this.hops) if (hop.isLeaving) this.#leaving(hop)
  }

  /** A token came: what was repaired works. */
  advanced(): void {
    this.#repairs = 0
    this.#objections = 0
    this.#stuck = 0
  }

  /** Opens all hops, or others in their place. Rejects with a SessionError or the signal's reason. */
  async open(waitMs: number, signal: AbortSignal): Promise<void> {
    this.activate(waitMs)
    const given = aborted(signal)
    while (!this.#route.isReady) {
      signal.throwIfAborted()
      if (this.#failure !== undefined) throw this.#failure
      await Promise.race([this.#change.promise, given])
    }
    this.#hasOpened = true
    this.rest()
  }

  /** See Route. */
  resample(sampler: SamplerOptions): Promise<void> | undefined {
    return this.#route.resample(sampler)
  }

  /** Draws of other versions of the sampler are not the ones that were asked for. */
  get samplerVersion(): number | undefined {
    return this.#route.sampler.version
  }

  async close(): Promise<void> {
    this.#waitMs = undefined
    this.#life.abort()
    clearInterval(this.#ticker)
    this.#changed()
    await this.#route.close()
  }

  #changed(): void {
    const { resolve } = this.#change
    this.#change = Promise.withResolvers()
    resolve()
    if (!this.#route.isWhole) this.#mend()
    this.#init.onChange()
  }

  #tick(): void {
    const now = performance.now()
    const lateMs = Math.max(0, now - this.#lastTick - 2 * TICK_MS)
    this.#lastTick = now
    const isActive = this.#waitMs !== undefined
    for (const hop of [...this.hops]) hop.tick(isActive, lateMs)
    if (!isActive) return
    const { sent } = this.#route
    // Only we raise epochs: a hop before garbled a frame, and what comes behind it is dropped.
    const later = this.hops.find(({ epoch }) => epoch > this.#init.epoch())
    if (later !== undefined && sent.rows > 0) this.#init.onGarbled(sent.rows - 1, later.epoch)
    const stuck = this.#route.stuckWay()
    stuck?.broke('what is sent does not arrive')
    // It has come on another way, too, and is dropped: what the stage takes for this epoch was not ours.
    if (stuck !== undefined && this.#stuck++ > 0) this.#init.onGarbled(sent.rows - 1, 0)
    if (stuck !== undefined || this.hops.some((hop) => hop.mustMove)) this.#mend()
    const tail = this.hops.at(-1)
    // It has computed all rows, and draws nothing: a hop before garbled what was asked for.
    if (tail?.owes(sent)) this.#init.onGarbled(sent.rows - 1, tail.epoch)
  }

  #leaving(hop: Hop): void {
    if (!this.hops.includes(hop)) return
    if (this.#waitMs === undefined) {
      hop.lose({ code: 'REFUSED', refusal: 'stopping', message: 'its node is leaving (stopping)' })
      return
    }
    this.#init.onEvent?.({ type: 'leaving', hop: hop.place })
    this.#mend()
  }

  #lost(hop: Hop, loss: Loss): void {
    if (loss.refusal === 'codec') {
      this.#recode(loss)
      return
    }
    this.#trouble = { place: hop.place, loss }
    this.#spares.failed(hop.place.peer)
    void this.#refresh() // who takes over next may have come since
    if (this.hops.includes(hop)) this.#init.onEvent?.({ type: 'lost', hop: hop.place, reason: loss.message })
    this.#changed()
  }

  /** The model has numbers that the codec can't hold: all hops are opened anew in the one that holds all. */
  #recode(loss: Loss): void {
    this.#route.codec = 'f32'
    this.#spares.codec = 'f32'
    for (const hop of this.hops) hop.lose(loss)
    this.#changed()
  }

  #mend(): void {
    if (this.#waitMs === undefined || this.#mending !== undefined) return
    this.#giveUpAt = performance.now() + this.#waitMs
    this.#mending = this.#mendAll().then((error) => {
      this.#mending = undefined
      if (this.#waitMs === undefined) return
      if (error === undefined) {
        if (!this.#route.isWhole) this.#mend() // it broke again before anybody could be told
        return
      }
      this.#waitMs = undefined
      this.#failure = error
      this.#init.onFailed(error)
      this.#changed()
    })
  }

  /** Until the chain is whole, or nobody waits for it; resolves to why it can't be. */
  async #mendAll(): Promise<SessionError | undefined> {
    const route = this.#route
    let isRepaired = false
    while (this.#waitMs !== undefined) {
      const { hops } = route
      const lost = hops.findIndex(({ loss }) => loss !== undefined)
      const broken = route.ways.findIndex(({ state }) => state === 'broken')
      const leaving = hops.findIndex(({ mustMove }) => mustMove)
      if (lost >= 0 || hops.length === 0) {
        const why = troubleOf(hops[lost])
        if (why?.loss.refusal === 'input') {
          // A hop before may have garbled the rows. If they are no better the next time, they are ours.
          this.#objections += 1
          if (this.#objections > 1) return this.#despair(why)
          this.#init.onGarbled(0, 0)
        }
        if (why !== undefined && this.#repairs > MAX_REPAIRS) return this.#despair(why)
        const sound = hops.findIndex(({ loss }, index) => index > lost && loss === undefined)
        const done = await this.#replace(Math.max(0, lost), sound < 0 ? hops.length : sound)
        const trouble = this.#trouble ?? why
        if (done === 'replaced') isRepaired = this.#hasOpened
        else if (trouble === undefined)
          return undefined // closed meanwhile
        else if (this.#isHopeless(trouble, done === 'nobody')) return this.#despair(trouble)
        else if (done === 'nobody') await this.#lookAround(trouble)
      } else if (broken >= 0) {
        isRepaired = this.#hasOpened
        await this.#renew(broken)
      } else if (leaving >= 0) {
        const hop = hops[leaving] as Hop
        hop.moveAt = performance.now() + MOVE_AGAIN_MS
        const done = await this.#replace(leaving, leaving + 1, hop.place.peer)
        if (done === 'replaced') isRepaired = true
        else void this.#refresh()
      } else if (route.isWhole) {
        if (isRepaired) this.#init.onEvent?.({ type: 'repaired', hops: route.places })
        return undefined
      } else await this.#opening()
    }
    return undefined
  }

  async #refresh(): Promise<void> {
    await this.#spares.refresh(this.#within(REFRESH_MS)).catch(() => {})
  }

  #within(ms: number): AbortSignal {
    return AbortSignal.any([this.#life.signal, AbortSignal.timeout(ms)])
  }

  #isHopeless({ loss }: Trouble, isLast: boolean): boolean {
    // What one does not open with, nobody does, or nobody else is there who might.
    const isFinal = loss.refusal === 'input' || (isLast && MISTAKES.has(loss.refusal ?? ''))
    return (isFinal && this.hops.length === 0) || performance.now() > this.#giveUpAt
  }

  #despair({ place, loss }: Trouble): SessionError {
    const places = this.hops.length === 0 ? this.#init.chain : this.#route.places
    const hop = places.findIndex(({ start, end }) => start === place.start && end === place.end)
    const where = `Hop ${hop + 1} of ${places.length} (blocks ${place.start}-${place.end} at ${place.peer})`
    const code = loss.refusal === 'input' ? 'INPUT' : loss.code
    return new SessionError(code, `${where}: ${loss.message}.`, hop < 0 ? undefined : hop)
  }

  /** Others for `hops[from..to)`. */
  async #replace(from: number, to: number, without?: string): Promise<'replaced' | 'failed' | 'nobody'> {
    const isFirst = this.hops.length === 0
    const chain = isFirst ? this.#init.chain : this.#route.places
    const replacement =
      isFirst && this.#trouble === undefined
        ? { from: 0, to: chain.length, places: chain }
        : this.#spares.replace(chain, from, isFirst ? chain.length : to, without)
    if (replacement === undefined) return 'nobody'
    const newcomers = await this.#route.open(replacement.places, replacement.to, this.#within(OPEN_MS))
    if (newcomers === undefined) return 'failed'
    if (!isFirst) this.#repairs += 1
    this.#route.install(newcomers, replacement.from, replacement.to)
    this.#changed() // their ways may have opened before they had
    return 'replaced'
  }

  /** Both ends of the way may live; that one of them does not may be on its way to us. */
  async #renew(index: number): Promise<void> {
    const hop = this.hops[index] as Hop
    await Promise.race([delay(LAST_WORDS_MS), hop.gone])
    if (hop.loss !== undefined || this.#route.ways[index]?.state !== 'broken') return
    const isRelayed = await this.#route.renew(index, this.#within(OPEN_MS))
    if (isRelayed) this.#init.onEvent?.({ type: 'relayed', hop: hop.place })
  }

  /** Somebody is about to answer, or never will. */
  async #opening(): Promise<void> {
    const change = this.#change.promise
    for (const way of this.#route.ways) {
      const isLate = way.state === 'opening' && performance.now() - way.since > OPEN_MS
      if (isLate) way.broke('it was not reached in time')
    }
    await Promise.race([change, delay(LOOK_AGAIN_MS, undefined, { ref: false })])
  }

  /** Nobody can take over for now: says so, asks around, waits. */
  async #lookAround({ place, loss }: Trouble): Promise<void> {
    const reason = `nobody to take over blocks ${place.start}-${place.end}, lost because ${loss.message}`
    this.#init.onEvent?.({ type: 'waiting', reason })
    const change = this.#change.promise
    await this.#refresh()
    await Promise.race([change, delay(LOOK_AGAIN_MS, undefined, { ref: false })])
  }
}

function troubleOf(hop: Hop | undefined): Trouble | undefined {
  return hop?.loss === undefined ? undefined : { place: hop.place, loss: hop.loss }
}
