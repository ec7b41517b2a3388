/**
 * What a node's bytes go through on their way to others: a line with a rate, which all connections take turns on, and
 * then a delay of each connection's own. A lost packet is what TCP makes of it: it comes a round trip later, and so does
 * all behind it. That TCP also sends more slowly after a loss (congestion control) is not emulated.
 */
import type { Clock } from '../../src/common/index.ts'
import type { WanProfile } from './profiles.ts'

/** What a sender's system takes without being asked to wait, per connection: 0.1 s at 20 Mbit/s. */
const BUFFER_BYTES = 256 * 1024
/** Under way on a connection at most, as Linux lets a connection's window grow. */
const WINDOW_BYTES = 4 * 1024 * 1024
/** What is lost is a packet. */
const PACKET_BYTES = 1_448
/** A connection's turn: a millisecond of the line, between these. */
const TURN_MS = 1
const LEAST_TURN_BYTES = PACKET_BYTES
const MOST_TURN_BYTES = 64 * 1024
/** Timers come in whole milliseconds: what is due within half of one goes now, so that the mean is right. */
const COARSE_MS = 0.5

export interface UplinkComponents {
  readonly clock: Pick<Clock, 'now' | 'after'>
  /** Numbers in [0, 1). */
  readonly random: () => number
}

/** Takes bytes out of the far end; says when the next system has them. */
export type Deliver = (bytes: Uint8Array, taken: () => void) => void

interface Waiting {
  bytes: Uint8Array
  readonly since: number
}

interface Flying {
  readonly bytes: Uint8Array
  readonly due: number
}

/** One direction of one connection. */
export interface Lane {
  /** Copies the bytes; `accepted` is called at once, or when the buffer has room again. */
  send(bytes: Uint8Array, accepted: () => void): void
  /** Calls back when all that was sent has come out. */
  flushed(done: () => void): void
  /** What has not left yet is dropped; calls back when the other end would hear of it. */
  cut(done: () => void): void
}

export class Uplink {
  readonly #components: UplinkComponents
  readonly #profile: () => WanProfile
  /** Those that have bytes waiting, in the order in which they are served. */
  readonly #turns: UplinkLane[] = []
  readonly #flying = new Set<UplinkLane>()
  /** When the line has sent what it was given. */
  #freeAt = 0
  #cancel: (() => void) | undefined
  #isRunning = false
  #isWoken = false

  /** `profile` may say something else at any time; what is under way is not changed by it. */
  constructor(components: UplinkComponents, profile: () => WanProfile) {
    this.#components = components
    this.#profile = profile
  }

  lane(deliver: Deliver): Lane {
    return new UplinkLane(this, this.#components.clock, deliver)
  }

  get delayMs(): number {
    return this.#profile().rttMs / 2
  }

  /** To be called where a lane has something to send, or room to do so. */
  wake(lane: UplinkLane): void {
    if (!this.#turns.includes(lane)) this.#turns.push(lane)
    this.#run()
  }

  #run(): void {
    this.#isWoken = true
    if (this.#isRunning) return // what is delivered may be taken, and make room, at once
    this.#isRunning = true
    this.#cancel?.()
    let next = Number.POSITIVE_INFINITY
    while (this.#isWoken) {
      this.#isWoken = false
      next = this.#pass()
    }
    this.#isRunning = false
    const ms = next - this.#components.clock.now()
    this.#cancel = Number.isFinite(next) ? this.#components.clock.after(ms, () => this.#run()) : undefined
  }

  /** Says when there is something to do again. */
  #pass(): number {
    const now = this.#components.clock.now()
    let next = this.#depart(now)
    for (const lane of [...this.#flying]) {
      const due = lane.land(now + COARSE_MS)
      if (due === undefined) this.#flying.delete(lane)
      else next = Math.min(next, due)
    }
    return next
  }

  /** Puts on the line what it can take by now; says when it can take more of what waits. */
  #depart(now: number): number {
    const { bitsPerSecond } = this.#profile()
    const most = Math.min(MOST_TURN_BYTES, Math.max(LEAST_TURN_BYTES, (bitsPerSecond * TURN_MS) / 8_000))
    let passed = 0
    while (passed < this.#turns.length) {
      if (this.#freeAt > now) return this.#freeAt
      const lane = this.#turns.shift() as UplinkLane
      const waiting = lane.take(most)
      if (waiting === 'full') {
        this.#turns.push(lane) // looked at again when something of it has landed
        passed += 1
        continue
      }
      if (waiting === undefined) continue
      this.#turns.push(lane)
      passed = 0
      // Not from now on: a timer that comes late is no rest of the line.
      this.#freeAt =
        Math.max(this.#freeAt, waiting.since) + (waiting.bytes.byteLength * 8_000) / bitsPerSecond
      lane.fly(waiting.bytes, this.#freeAt + this.#travelMs(waiting.bytes.byteLength))
      this.#flying.add(lane)
    }
    return Number.POSITIVE_INFINITY
  }

  #travelMs(bytes: number): number {
    const { rttMs, jitterMs, loss } = this.#profile()
    const { random } = this.#components
    const jitter = jitterMs === 0 ? 0 : random() * jitterMs
    const survives = (1 - loss) ** Math.ceil(bytes / PACKET_BYTES)
    const again = loss > 0 && random() >= survives ? rttMs : 0
    return rttMs / 2 + jitter + again
  }
}

class UplinkLane implements Lane {
  readonly #uplink: Uplink
  readonly #clock: Pick<Clock, 'now' | 'after'>
  readonly #deliver: Deliver
  #waiting: Waiting[] = []
  #waitingBytes = 0
  readonly #flying: Flying[] = []
  /** Those that the far end has not taken yet among them. */
  #flyingBytes = 0
  #lastDue = 0
  #accepted: (() => void) | undefined
  #flushed: (() => void) | undefined

  constructor(uplink: Uplink, clock: Pick<Clock, 'now' | 'after'>, deliver: Deliver) {
    this.#uplink = uplink
    this.#clock = clock
    this.#deliver = deliver
  }

  send(bytes: Uint8Array, accepted: () => void): void {
    this.#waiting.push({ bytes: bytes.slice(), since: this.#clock.now() })
    this.#waitingBytes += bytes.byteLength
    this.#accepted = accepted
    this.#uplink.wake(this)
    this.#accept()
  }

  #accept(): void {
    if (this.#waitingBytes > BUFFER_BYTES) return
    const accepted = this.#accepted
    this.#accepted = undefined
    accepted?.()
  }

  /** At most so many bytes that wait; 'full' while too many are under way. */
  take(most: number): Waiting | 'full' | undefined {
    const [first] = this.#waiting
    if (first === undefined) return undefined
    if (this.#flyingBytes >= WINDOW_BYTES) return 'full'
    const bytes = first.bytes.subarray(0, most)
    if (bytes.byteLength === first.bytes.byteLength) this.#waiting.shift()
    else first.bytes = first.bytes.subarray(most)
    this.#waitingBytes -= bytes.byteLength
    this.#accept()
    return { bytes, since: first.since }
  }

  fly(bytes: Uint8Array, due: number): void {
    this.#lastDue = Math.max(this.#lastDue, due)
    this.#flying.push({ bytes, due: this.#lastDue })
    this.#flyingBytes += bytes.byteLength
  }

  /** Delivers what is due; says when the next is. */
  land(now: number): number | undefined {
    const left = this.#flying.findIndex(({ due }) => due > now)
    const landed = this.#flying.splice(0, left < 0 ? this.#flying.length : left).map(({ bytes }) => bytes)
    if (landed.length > 0) {
      const bytes = landed.length === 1 ? (landed[0] as Uint8Array) : Buffer.concat(landed)
      this.#deliver(bytes, () => {
        this.#flyingBytes -= bytes.byteLength
        if (this.#waiting.length > 0) this.#uplink.wake(this)
        else if (this.#flyingBytes === 0) this.#end()
      })
    }
    return this.#flying[0]?.due
  }

  flushed(done: () => void): void {
    this.#flushed = done
    if (this.#waiting.length === 0 && this.#flyingBytes === 0) this.#end()
  }

  #end(): void {
    const flushed = this.#flushed
    this.#flushed = undefined
    flushed?.()
  }

  cut(done: () => void): void {
    this.#waiting = []
    this.#waitingBytes = 0
    const now = this.#clock.now()
    this.#clock.after(Math.max(this.#lastDue, now + this.#uplink.delayMs) - now, done)
  }
}
