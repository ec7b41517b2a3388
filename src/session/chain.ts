/**
 * A session's way through the stages, kept whole: hops that are lost or leaving are replaced, links that break
 * between living hops are made anew or go through us. Nobody recomputes but the newcomers, who get from the hop
 * before them what it had sent (DESIGN 4: recovery is replay).
 */
import { randomBytes } from 'node:crypto'
import { setTimeout as delay } from 'node:timers/promises'
import type { Host, NextHop, Open, SamplerOptions } from '../net/index.ts'
import { Outlet, ReplayLog } from '../stage/index.ts'
import type { ChainHop } from '../swarm/index.ts'
import { SessionError } from './errors.ts'
import { Hop, type HopEvents, type Loss, TICKET_BYTES } from './hop.ts'
import type { Relays } from './relay.ts'
import { Spares, type StageSource } from './spares.ts'
import { Way } from './way.ts'

/** How often hops are looked at: a twentieth of the shortest deadline. */
const TICK_MS = 50
/** A stage has so long to admit the session, and to be reached by the hop before. */
const OPEN_MS = 10_000
/** A hop that lost its next one says so at about the time when that one's end is noticed, which tells more. */
const LAST_WORDS_MS = 100
/** Where nobody can take over, it is looked for again after this; who has not answered then is not waited for. */
const LOOK_AGAIN_MS = 250
const REFRESH_MS = 2_000
/** A stage that is leaving serves until somebody is found. */
const MOVE_AGAIN_MS = 1_000
/** Repairs without a token between them: more are a request that kills stages, not stages that die. */
const MAX_REPAIRS = 16

export interface ChainComponents {
  readonly host: Host
  readonly source: StageSource
  /** Without it, a link that breaks between living hops costs one of them. */
  readonly relays?: Relays | undefined
}

/** What happens to a session's chain. */
export type ChainEvent =
  | { readonly type: 'lost'; readonly hop: ChainHop; readonly reason: string }
  | { readonly type: 'leaving'; readonly hop: ChainHop }
  | { readonly type: 'relayed'; readonly hop: ChainHop }
  /** Nobody can take over now. */
  | { readonly type: 'waiting'; readonly reason: string }
  /** The chain is whole again; what newcomers lack is on its way to them. */
  | { readonly type: 'repaired'; readonly hops: readonly ChainHop[] }

export interface ChainInit {
  readonly chain: readonly ChainHop[]
  readonly reserve: number
  readonly sampler: SamplerOptions
  readonly onEvent: ((event: ChainEvent) => void) | undefined
  /** The first position whose draw is not known yet. */
  readonly drawFrom: () => number
  readonly events: Pick<HopEvents, 'tokens' | 'need'>
  /** Hops have opened, or have more room. */
  readonly onChange: () => void
  readonly onFailed: (error: SessionError) => void
}

interface Trouble {
  readonly place: ChainHop
  readonly loss: Loss
}

export class Chain {
  /** What goes to the first hop, kept as at every hop. */
  readonly entry: Outlet
  readonly #components: ChainComponents
  readonly #init: ChainInit
  readonly #spares: Spares
  readonly #events: HopEvents
  readonly #entryWay = new Way()
  readonly #life = new AbortController()
  readonly #ticker: NodeJS.Timeout
  #hops: Hop[] = []
  #sampler: SamplerOptions
  #reserve: number
  #lastTick = performance.now()
  #fedAt = 0
  /** How long an answer may wait for somebody who can take over; undefined between answers. */
  #waitMs: number | undefined
  #mending: Promise<void> | undefined
  #repairs = 0
  #failure: SessionError | undefined
  #change = Promise.withResolvers<void>()
  /** The last one, for the error if there is no help. */
  #trouble: Trouble | undefined

  constructor(components: ChainComponents, init: ChainInit) {
    const { host, source } = components
    this.#components = components
    this.#init = init
    this.#sampler = init.sampler
    this.#reserve = init.reserve
    this.#spares = new Spares(source, init.chain[0] as ChainHop)
    this.entry = new Outlet({
      log: new ReplayLog({ codec: 'none', rowBytes: 0 }),
      dial: ({ peer, addresses, ticket }, signal) => host.openData(peer, addresses, ticket, signal),
      onLinked: (ticket) => {
        if (this.#entryWay.is(ticket)) this.#entryWay.opened()
        this.#changed()
      },
      onUnlinked: (ticket, message) => {
        if (this.#entryWay.is(ticket)) this.#entryWay.broke(message)
        this.#changed()
        this.#mend()
      },
      onLost: () => {} // ids are always kept
    })
    this.#events = {
      ...init.events,
      changed: (hop) => {
        this.#changed()
        if (hop.way.state === 'broken') this.#mend()
      },
      leaving: (hop) => this.#leaving(hop),
      lost: (hop, loss) => this.#lost(hop, loss)
    }
    this.#ticker = setInterval(() => this.#tick(), TICK_MS).unref()
  }

  get hops(): readonly Hop[] {
    return this.#hops
  }

  /** Positions that every hop has reserved; who is lost does not count, newcomers are asked for enough. */
  get capacity(): number {
    const open = this.#hops.filter(({ isOpen }) => isOpen)
    return open.reduce((least, { capacity }) => Math.min(least, capacity), this.#reserve)
  }

  /** An answer begins: from now on losses matter at once. */
  activate(waitMs: number): void {
    this.#waitMs = waitMs
    this.#failure = undefined
    this.#repairs = 0
    for (const hop of this.#hops) hop.wake()
    this.#mend()
  }

  /** It has ended: hops that are lost now are replaced when the next one begins. */
  rest(): void {
    this.#waitMs = undefined
    for (const hop of this.#hops) if (hop.isLeaving) this.#leaving(hop)
  }

  /** A token came: what was repaired works. */
  advanced(): void {
    this.#repairs = 0
  }

  /** Rows were given to `entry`. */
  fed(): void {
    this.#fedAt = performance.now()
  }

  /** Opens all hops, or others in their place. Rejects with a SessionError or the signal's reason. */
  async open(waitMs: number, signal: AbortSignal): Promise<void> {
    this.activate(waitMs)
    while (!this.#isWhole) {
      signal.throwIfAborted()
      if (this.#failure !== undefined) throw this.#failure
      await Promise.race([this.#change.promise, abortedBy(signal)])
    }
    this.rest()
  }

  get #isWhole(): boolean {
    return this.#hops.length > 0 && this.#hops.every(({ isOpen }) => isOpen) && this.#ways.every(isOpenWay)
  }

  /** Reserves positions at every hop that has fewer. */
  extend(reserve: number): void {
    this.#reserve = Math.max(this.#reserve, reserve)
    for (const hop of this.#hops) {
      if (hop.asked >= this.#reserve) continue
      hop.asked = this.#reserve
      hop.send({ type: 'extend', reserve: this.#reserve })
    }
  }

  /** Rows that are sent after it has resolved are drawn after so. */
  async resample(sampler: SamplerOptions): Promise<void> {
    this.#sampler = sampler
    const tail = this.#hops.at(-1)
    if (tail === undefined || !tail.isOpen) return // who takes over is told when it opens
    tail.send({ type: 'resample', sampler })
    await Promise.race([tail.reached(), tail.gone])
  }

  async close(): Promise<void> {
    this.#waitMs = undefined
    this.#life.abort()
    clearInterval(this.#ticker)
    this.#changed()
    await Promise.all([...this.#hops.map((hop) => hop.close()), this.entry.close()])
  }

  #changed(): void {
    const { resolve } = this.#change
    this.#change = Promise.withResolvers()
    resolve()
    this.#init.onChange()
  }

  #tick(): void {
    const now = performance.now()
    const lateMs = Math.max(0, now - this.#lastTick - 2 * TICK_MS)
    this.#lastTick = now
    const isActive = this.#waitMs !== undefined
    for (const hop of [...this.#hops]) hop.tick(isActive, lateMs)
    if (!isActive) return
    let sent = { rows: this.entry.length, since: this.#fedAt }
    let way = this.#entryWay
    for (const hop of this.#hops) {
      if (way.state === 'open' && hop.lacks(sent)) {
        way.broke('what is sent does not arrive')
        hop.wake()
        this.#mend()
      }
      if (hop.isLeaving && hop.moveAt < now) this.#mend()
      sent = hop.computed
      way = hop.way
    }
  }

  #leaving(hop: Hop): void {
    if (!this.#hops.includes(hop)) return
    if (this.#waitMs === undefined) {
      hop.lose({ code: 'REFUSED', refusal: 'stopping', message: 'its node is leaving (stopping)' })
    } else if (hop.moveAt === 0) {
      this.#init.onEvent?.({ type: 'leaving', hop: hop.place })
      this.#mend()
    }
  }

  #lost(hop: Hop, loss: Loss): void {
    this.#trouble = { place: hop.place, loss }
    this.#spares.failed(hop.place.peer)
    if (this.#hops.includes(hop)) this.#init.onEvent?.({ type: 'lost', hop: hop.place, reason: loss.message })
    this.#changed()
    this.#mend()
  }

  #mend(): void {
    if (this.#waitMs === undefined || this.#mending !== undefined) return
    this.#mending = this.#mendAll(performance.now() + this.#waitMs).then((error) => {
      this.#mending = undefined
      if (error === undefined || this.#waitMs === undefined) return
      this.#waitMs = undefined
      this.#failure = error
      this.#init.onFailed(error)
      this.#changed()
    })
  }

  /** Until the chain is whole, or nobody waits for it; resolves to why it can't be. */
  async #mendAll(giveUpAt: number): Promise<SessionError | undefined> {
    const wasOpen = this.#hops.length > 0
    let isRepair = false
    while (this.#waitMs !== undefined) {
      const trouble = this.#trouble
      if (trouble?.loss.refusal === 'input') return this.#hopeless(trouble)
      const isLost = ({ loss }: Hop): boolean => loss !== undefined
      const from = this.#hops.findIndex(isLost)
      const leaving = this.#hops.findIndex(({ isLeaving, moveAt }) => isLeaving && moveAt < performance.now())
      const broken = this.#ways.findIndex(({ state }) => state === 'broken')
      if (from >= 0 || this.#hops.length === 0) {
        const sound = this.#hops.findIndex((hop, index) => index > from && !isLost(hop))
        isRepair = true
        if (await this.#replace(Math.max(0, from), sound < 0 ? this.#hops.length : sound)) continue
        if (performance.now() >= giveUpAt || this.#repairs > MAX_REPAIRS) return this.#hopeless(trouble)
        await this.#lookAround(trouble)
      } else if (broken >= 0) {
        isRepair = true
        await this.#renew(broken)
      } else if (leaving >= 0) {
        const hop = this.#hops[leaving] as Hop
        hop.moveAt = performance.now() + MOVE_AGAIN_MS
        if (await this.#replace(leaving, leaving + 1, hop.place.peer)) isRepair = true
        else void this.#spares.refresh(this.#within(REFRESH_MS)).catch(() => {})
      } else if (this.#isWhole) {
        if (isRepair && wasOpen) {
          this.#init.onEvent?.({ type: 'repaired', hops: this.#hops.map(({ place }) => place) })
        }
        return undefined
      } else await this.#opening()
    }
    return undefined
  }

  /** The ways to each hop: ours to the first, and theirs. */
  get #ways(): Way[] {
    return [this.#entryWay, ...this.#hops.slice(0, -1).map(({ way }) => way)]
  }

  #within(ms: number): AbortSignal {
    return AbortSignal.any([this.#life.signal, AbortSignal.timeout(ms)])
  }

  /** Somebody is about to answer, or never will. */
  async #opening(): Promise<void> {
    const change = this.#change.promise
    for (const way of this.#ways) {
      if (way.state === 'opening' && performance.now() - way.since > OPEN_MS)
        way.broke('it was not reached in time')
    }
    await Promise.race([change, delay(LOOK_AGAIN_MS, undefined, { ref: false })])
  }

  /** Nobody can take over for now: says so, asks around, waits. */
  async #lookAround(trouble: Trouble | undefined): Promise<void> {
    const blocks = trouble === undefined ? '' : ` of blocks ${trouble.place.start}-${trouble.place.end}`
    this.#init.onEvent?.({
      type: 'waiting',
      reason: `nobody to take over${blocks}: ${trouble?.loss.message}`
    })
    const change = this.#change.promise
    const asked = this.#spares.refresh(this.#within(REFRESH_MS)).catch(() => {})
    await Promise.race([asked, delay(REFRESH_MS, undefined, { ref: false })])
    await Promise.race([change, delay(LOOK_AGAIN_MS, undefined, { ref: false })])
  }

  #hopeless(trouble: Trouble | undefined): SessionError {
    const { place, loss } = trouble as Trouble
    const chain = this.#hops.length === 0 ? this.#init.chain : this.#hops.map((hop) => hop.place)
    const hop = chain.indexOf(place)
    const where = `Hop ${hop + 1} of ${chain.length} (blocks ${place.start}-${place.end} at ${place.peer})`
    return new SessionError(loss.code, `${where}: ${loss.message}.`, hop)
  }

  /** Others for `hops[from..to)`. False when there is nobody, or they failed, too. */
  async #replace(from: number, to: number, without?: string): Promise<boolean> {
    const isFirst = this.#hops.length === 0
    const chain = isFirst ? this.#init.chain : this.#hops.map(({ place }) => place)
    const replacement =
      isFirst && this.#trouble === undefined
        ? { from: 0, places: chain }
        : this.#spares.replace(chain, from, isFirst ? chain.length : to, without)
    if (replacement === undefined) return false
    if (!isFirst) this.#repairs += 1
    const { host } = this.#components
    const newcomers = replacement.places.map(
      (place) => new Hop(host, place, this.#events, this.#init.drawFrom)
    )
    const after = this.#hops[to]
    if (after !== undefined) {
      after.ticketIn = randomBytes(TICKET_BYTES)
      after.send({ type: 'rewire', ticketIn: after.ticketIn, drawFrom: 0 })
    }
    const signal = this.#within(OPEN_MS)
    for (const [index, hop] of newcomers.entries()) {
      void hop.open(this.#openMessage(hop, newcomers[index + 1] ?? after), signal)
    }
    const isSettled = (): boolean =>
      newcomers.some(({ loss }) => loss !== undefined) || newcomers.every(({ isOpen }) => isOpen)
    while (!isSettled() && !signal.aborted) await Promise.race([this.#change.promise, abortedBy(signal)])
    for (const hop of newcomers) {
      if (!hop.isOpen) hop.lose({ code: 'TIMEOUT', message: 'it did not open the session in time' })
    }
    if (this.#life.signal.aborted || newcomers.some(({ loss }) => loss !== undefined)) {
      for (const hop of newcomers) void hop.close()
      return false
    }
    const before = this.#hops[replacement.from - 1]
    const old = this.#hops.splice(replacement.from, to - replacement.from, ...newcomers)
    this.#link(before, newcomers[0] as Hop)
    for (const hop of old) void hop.close()
    this.extend(this.#reserve) // it may have grown meanwhile
    return true
  }

  #openMessage({ place, id, ticketIn }: Hop, next: Hop | undefined): Open {
    const { stage, start, end } = place
    return {
      ...{ type: 'open', session: id, model: stage.model, start, end, head: next === undefined },
      ...{ profile: stage.profile, ticketIn, reserve: this.#reserve },
      ...(next === undefined ? { sampler: this.#sampler } : { next: addressOf(next) })
    }
  }

  /** Frames go from `before` (or us) to `next`. */
  #link(before: Hop | undefined, hop: Hop, next = addressOf(hop), isRelayed = false): void {
    const drawFrom = this.#init.drawFrom()
    const way = before === undefined ? this.#entryWay : before.way
    way.begin(next.ticket, isRelayed)
    if (before === undefined) this.entry.link(next, drawFrom)
    else before.send({ type: 'rewire', next, drawFrom })
  }

  /** Both ends of the way may live, but it is broken: we dial again, or pass on what two stages can't exchange. */
  async #renew(index: number): Promise<void> {
    const way = this.#ways[index] as Way
    const [before, after] = [this.#hops[index - 1], this.#hops[index] as Hop]
    await delay(LAST_WORDS_MS)
    if (after.loss !== undefined || way.state !== 'broken') return
    const { relays, host } = this.#components
    if (way.isRelayed || (before !== undefined && relays === undefined)) {
      after.lose({ code: 'LOST', message: `the hop before it cannot reach it: ${way.reason}` })
      return
    }
    after.ticketIn = randomBytes(TICKET_BYTES)
    after.send({ type: 'rewire', ticketIn: after.ticketIn, drawFrom: 0 })
    if (before === undefined || relays === undefined) {
      this.#link(before, after, addressOf(after), true)
      return
    }
    try {
      const { peer, addresses, stage } = after.place
      const sender = await host.openData(peer, [...addresses], after.ticketIn, this.#within(OPEN_MS))
      const limits = { width: stage.width, maxRows: sender.accepted.maxRows }
      this.#link(before, after, relays.to(sender, host, limits), true)
      this.#init.onEvent?.({ type: 'relayed', hop: after.place })
    } catch (error) {
      after.lose({ code: 'LOST', message: `its data stream cannot be opened: ${(error as Error).message}` })
    }
  }
}

function addressOf({ place, ticketIn }: Hop): NextHop {
  return { peer: place.peer, addresses: [...place.addresses], ticket: ticketIn }
}

function abortedBy(signal: AbortSignal): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>()
  signal.addEventListener('abort', () => resolve(), { once: true })
  if (signal.aborted) resolve()
  return promise
}

function isOpenWay({ state }: Way): boolean {
  return state === 'open'
}
