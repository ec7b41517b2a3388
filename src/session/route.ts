/** The hops of a session and the ways between them: opening, linking, taking hops in and out. */
import { randomBytes } from 'node:crypto'
import type { NextHop, Open, RowCodec, SamplerOptions, SessionHost } from '../net/index.ts'
import { Outlet, ReplayLog } from '../stage/index.ts'
import type { ChainHop } from '../swarm/index.ts'
import { Hop, type HopEvents, type Passed, TICKET_BYTES } from './hop.ts'
import type { Relays } from './relay.ts'
import { Way } from './way.ts'

/** A stage has so long to admit the session, and to be reached by the hop before. */
export const OPEN_MS = 10_000
const FIRST_VERSION = 1

export interface RouteComponents {
  readonly host: SessionHost
  /** Without it, a link that breaks between living hops costs one of them. */
  readonly relays?: Relays | undefined
}

export interface RouteInit {
  readonly codec: RowCodec
  readonly reserve: number
  readonly sampler: SamplerOptions
  /** The first position whose draw is not known yet. */
  readonly drawFrom: () => number
  readonly events: HopEvents
  /** Our own way to the first hop has opened or broken. */
  readonly onEntry: () => void
}

export class Route {
  /** What goes to the first hop, kept as at every hop. */
  readonly entry: Outlet
  /** Newcomers draw so. */
  sampler: SamplerOptions
  /** Of all hops' frames, as newcomers are told. */
  codec: RowCodec
  hops: Hop[] = []
  readonly #components: RouteComponents
  readonly #init: RouteInit
  readonly #entryWay = new Way()
  #reserve: number
  #fedAt = 0

  constructor(components: RouteComponents, init: RouteInit) {
    const { host } = components
    this.#components = components
    this.#init = init
    this.sampler = { ...init.sampler, version: FIRST_VERSION }
    this.codec = init.codec
    this.#reserve = init.reserve
    this.entry = new Outlet({
      log: new ReplayLog({ codec: 'none', rowBytes: 0 }),
      dial: ({ peer, addresses, ticket }, signal) => host.openData(peer, addresses, ticket, signal),
      onLinked: (ticket) => {
        if (this.#entryWay.is(ticket)) this.#entryWay.opened()
        init.onEntry()
      },
      onUnlinked: (ticket, message) => {
        if (this.#entryWay.is(ticket)) this.#entryWay.broke(message)
        init.onEntry()
      },
      onLost: () => {} // ids are always kept
    })
  }

  get places(): ChainHop[] {
    return this.hops.map(({ place }) => place)
  }

  /** The ways to each hop: ours to the first, and theirs. */
  get ways(): Way[] {
    return [this.#entryWay, ...this.hops.slice(0, -1).map(({ way }) => way)]
  }

  /** All hops are open, and frames reach the tail. */
  get isWhole(): boolean {
    return (
      this.hops.length > 0 &&
      this.hops.every(({ isOpen }) => isOpen) &&
      this.ways.every(({ state }) => state === 'open')
    )
  }

  /**
   * All hops are open, and no way is known not to be: frames may be sent. A hop's way to the next one opens in parallel,
   * and is mostly open when the first frame is there.
   */
  get isReady(): boolean {
    return (
      this.hops.length > 0 &&
      this.hops.every(({ isOpen }) => isOpen) &&
      this.ways.every(({ state }) => state !== 'broken')
    )
  }

  /** Positions that every hop has reserved; who is lost does not count, newcomers are asked for enough. */
  get capacity(): number {
    const open = this.hops.filter(({ isOpen }) => isOpen)
    return open.reduce((least, { capacity }) => Math.min(least, capacity), this.#reserve)
  }

  /** Reserves positions at every hop that has fewer. */
  extend(reserve: number): void {
    this.#reserve = Math.max(this.#reserve, reserve)
    for (const hop of this.hops) {
      if (hop.asked >= this.#reserve) continue
      hop.asked = this.#reserve
      hop.send({ type: 'extend', reserve: this.#reserve })
    }
  }

  /** See Hop.resample; who takes over from the tail is told when it opens. */
  resample(sampler: SamplerOptions): Promise<void> | undefined {
    this.sampler = { ...sampler, version: (this.sampler.version ?? 0) + 1 }
    return this.hops.at(-1)?.resample(this.sampler)
  }

  /** Rows were given to `entry`. */
  fed(): void {
    this.#fedAt = performance.now()
  }

  /** Rows that we have given to `entry`, and since when. */
  get sent(): Passed {
    const { length: rows, epoch } = this.entry
    return { rows, epoch, since: this.#fedAt }
  }

  /** The way on which rows are lost without a word, if there is one: see Hop.lacks. */
  stuckWay(): Way | undefined {
    let { sent } = this
    let way = this.#entryWay
    for (const hop of this.hops) {
      if (way.state === 'open' && hop.lacks(sent)) {
        hop.wake() // its time begins anew
        return way
      }
      sent = hop.computed
      way = hop.way
    }
    return undefined
  }

  /**
   * Opens the session at `places`, which go on to `hops[to]`. Resolves to the newcomers when all have opened, or to
   * undefined when one has failed, or the codec is another one by then: then all are closed.
   */
  async open(places: readonly ChainHop[], to: number, signal: AbortSignal): Promise<Hop[] | undefined> {
    const { drawFrom, events } = this.#init
    const { codec } = this
    const newcomers = places.map((place) => new Hop(this.#components.host, place, events, drawFrom))
    const after = this.hops[to]
    if (after !== undefined) this.#changeTicket(after)
    // Nobody else is first now: our way to it opens meanwhile.
    if (this.hops.length === 0) this.#link(0, addressOf(newcomers[0] as Hop))
    await Promise.all(
      newcomers.map((hop, index) => hop.open(this.#openMessage(hop, newcomers[index + 1] ?? after), signal))
    )
    const isGood = codec === this.codec && newcomers.every(({ loss }) => loss === undefined)
    if (isGood) return newcomers
    for (const hop of newcomers) void hop.close()
    return undefined
  }

  /** What the hop before has to present from now on. */
  #changeTicket(hop: Hop): void {
    hop.ticketIn = randomBytes(TICKET_BYTES)
    hop.send({ type: 'rewire', ticketIn: hop.ticketIn, drawFrom: 0 })
  }

  #openMessage({ place, id, ticketIn }: Hop, next: Hop | undefined): Open {
    const { stage, start, end } = place
    return {
      ...{ type: 'open', session: id, model: stage.model, start, end, head: next === undefined },
      ...{ profile: { ...stage.profile, codec: this.codec }, ticketIn, reserve: this.#reserve },
      ...(next === undefined ? { sampler: this.sampler } : { next: addressOf(next) })
    }
  }

  /** Newcomers, who have opened, in place of `hops[from..to)`. What they lack is sent to them. */
  install(newcomers: readonly Hop[], from: number, to: number): void {
    const old = this.hops.splice(from, to - from, ...newcomers)
    const first = newcomers[0] as Hop
    const isLinked = from === 0 && this.#entryWay.is(first.ticketIn)
    if (!isLinked) this.#link(from, addressOf(first))
    for (const hop of old) void hop.close()
    this.extend(this.#reserve) // it may have grown meanwhile
    void this.hops.at(-1)?.resample(this.sampler) // it may be another one
  }

  /** From now on frames go to `next` on the way to `hops[index]`. */
  #link(index: number, next: NextHop, isRenewed = false): void {
    const drawFrom = this.#init.drawFrom()
    this.ways[index]?.begin(next.ticket, isRenewed)
    if (index === 0) this.entry.link(next, drawFrom)
    else this.hops[index - 1]?.send({ type: 'rewire', next, drawFrom })
  }

  /**
   * A way to `hops[index]` that broke, though both of its ends may live: we dial again, or pass on what two stages
   * can't exchange. A way that does not last even so costs the hop after it. True where it is relayed.
   */
  async renew(index: number, signal: AbortSignal): Promise<boolean> {
    const { relays, host } = this.#components
    const hop = this.hops[index] as Hop
    const way = this.ways[index] as Way
    if (way.wasInVain || (index > 0 && relays === undefined)) {
      hop.lose({ code: 'LOST', message: `the hop before cannot reach it: ${way.reason}` })
      return false
    }
    this.#changeTicket(hop)
    if (index === 0 || relays === undefined) {
      this.#link(index, addressOf(hop), true)
      return false
    }
    try {
      const { peer, addresses, stage } = hop.place
      const sender = await host.openData(peer, [...addresses], hop.ticketIn, signal)
      const limits = { width: stage.width, maxRows: sender.accepted.maxRows }
      this.#link(index, relays.to(sender, host, limits), true)
      return true
    } catch (error) {
      hop.lose({ code: 'LOST', message: `its data stream cannot be opened: ${(error as Error).message}` })
      return false
    }
  }

  async close(): Promise<void> {
    await Promise.all([...this.hops.map((hop) => hop.close()), this.entry.close()])
  }
}

function addressOf({ place, ticketIn }: Hop): NextHop {
  return { peer: place.peer, addresses: [...place.addresses], ticket: ticketIn }
}
