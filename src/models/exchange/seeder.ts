/** Serves what peers request, within an upload cap that all of them share. */
import type { Clock } from '../../common/index.ts'
import type { PieceChunk } from '../../net/index.ts'
import type { StoredModel } from '../contract.ts'
import { CHOKE_MS, Choker } from './choker.ts'
import type { PieceLink } from './link.ts'
import { TokenBucket } from './token-bucket.ts'
import type { Upload } from './uploads.ts'

/** Read ahead for one peer, so that pieces do not wait for the disk one by one: at least one beside the one that goes out. */
const READ_AHEAD_BYTES = 1024 * 1024
const READ_AHEAD_PIECES = 2
/** With a cap less is, since what is read is not put in another order any more. */
const READ_AHEAD_SECONDS = 0.01
/** Given to one peer before it is another's turn: with all headers, one message of Noise and one write. */
const TURN_BYTES = 63 * 1024
/** Every so many turns nobody asks how often a piece was given: else who comes late might wait for long. */
const PLAIN_TURN = 4

export interface SeederInit {
  /** Of pieces, to all peers. Default: as fast as the line. */
  readonly bytesPerSecond?: number | undefined
  /** Peers served at once. */
  readonly slots?: number | undefined
}

export class Seeder {
  readonly bucket: TokenBucket
  /** Of pieces, by the model's id. */
  readonly bytesSent = new Map<string, number>()
  readonly #clock: Clock
  readonly #choker: Choker
  readonly #links = new Set<PieceLink>()
  /** How often each piece was given. */
  readonly #given = new WeakMap<StoredModel, Map<number, number>>()
  #turns = 0
  #isScheduled = false
  #cancelTimer: (() => void) | undefined
  #cancelChoking: (() => void) | undefined

  constructor({ clock }: { clock: Clock }, init: SeederInit = {}) {
    this.#clock = clock
    this.#choker = new Choker(init.slots)
    this.bucket = new TokenBucket(clock, init.bytesPerSecond ?? Number.POSITIVE_INFINITY)
  }

  get bytesPerSecond(): number {
    return this.bucket.rate
  }

  set bytesPerSecond(rate: number) {
    this.bucket.rate = rate
    this.#cancelTimer?.()
    this.#cancelTimer = undefined
    this.requested()
  }

  add(link: PieceLink): void {
    // As if it had had as much as who had least: who comes later shares from now on.
    const served = [...this.#links].map(({ uploads }) => uploads.served)
    link.uploads.served = served.length === 0 ? 0 : Math.min(...served)
    this.#links.add(link)
    this.#cancelChoking ??= this.#clock.after(CHOKE_MS, () => this.#tick())
  }

  remove(link: PieceLink): void {
    if (!this.#links.delete(link)) return
    this.choose()
    if (this.#links.size > 0) return
    this.#cancelChoking?.()
    this.#cancelChoking = undefined
  }

  /** Decides anew whom to serve. */
  choose(): void {
    const chosen = this.#choker.choose(this.#links, this.#clock.now())
    for (const link of this.#links) {
      const { uploads } = link
      if (uploads.isChoked === !chosen.has(link)) continue
      link.say(uploads.isChoked ? 'unchoke' : 'choke')
      if (uploads.isChoked) uploads.isChoked = false
      else uploads.choke()
    }
  }

  /** What else is sent within the cap. */
  async pace(bytes: number): Promise<void> {
    while (this.bucket.waitMs > 0) {
      const { waitMs } = this.bucket
      await new Promise<void>((resolve) => this.#clock.after(waitMs, resolve))
    }
    this.bucket.take(bytes)
  }

  /** To be called when there are new requests. Sends soon, after what else the process has to do. */
  requested(): void {
    if (this.#isScheduled) return
    this.#isScheduled = true
    setImmediate(() => {
      this.#isScheduled = false
      this.#serve()
    })
  }

  #tick(): void {
    this.#choker.measure(this.#links)
    this.choose()
    this.#cancelChoking = this.#clock.after(CHOKE_MS, () => this.#tick())
  }

  #serve(): void {
    for (const link of this.#links) this.#read(link)
    for (let link = this.#next(); link !== undefined; link = this.#next()) {
      const { waitMs } = this.bucket
      if (waitMs > 0) {
        this.#cancelTimer ??= this.#clock.after(waitMs, () => {
          this.#cancelTimer = undefined
          this.#serve()
        })
        return
      }
      this.#send(link)
    }
  }

  /** Whose turn it is: pieces that were given least come first, then peers that got least. */
  #next(): PieceLink | undefined {
    const isPlain = this.#turns % PLAIN_TURN === 0
    const earlier = ({ uploads }: PieceLink): number => (isPlain ? 0 : (uploads.ready[0]?.earlier ?? 0))
    let best: PieceLink | undefined
    for (const link of this.#links) {
      if (link.uploads.isBlocked || link.uploads.ready.length === 0) continue
      const by = best === undefined ? -1 : earlier(link) - earlier(best)
      if (by < 0 || (by === 0 && link.uploads.served < (best as PieceLink).uploads.served)) best = link
    }
    return best
  }

  /** Up to TURN_BYTES; the next turn comes after what else the process has to do. */
  #send(link: PieceLink): void {
    const { uploads, stream, model } = link
    this.#turns += 1
    let room = TURN_BYTES
    const chunks: PieceChunk[] = []
    for (let first = uploads.ready[0]; first !== undefined && room > 0; first = uploads.ready[0]) {
      const { index, offset } = first
      const bytes = first.bytes.subarray(offset, offset + room)
      chunks.push({ type: 'chunk', index, offset, bytes })
      first.offset += bytes.byteLength
      room -= bytes.byteLength
      if (first.offset === first.bytes.byteLength) uploads.ready.shift()
    }
    const bytes = TURN_BYTES - room
    uploads.served += bytes
    const { id } = model.manifest
    this.bytesSent.set(id, (this.bytesSent.get(id) ?? 0) + bytes)
    this.bucket.take(bytes)
    uploads.isBlocked = true
    const free = (): void => {
      uploads.isBlocked = false
      this.requested()
    }
    stream.sendChunks(chunks).then(free, free) // who has ended has no requests
  }

  #read(link: PieceLink): void {
    const { uploads, model } = link
    const most = this.#readAhead(model.manifest.pieces?.pieceBytes ?? 1)
    while (uploads.waiting.size > 0 && uploads.reading.size + uploads.ready.length < most) {
      const given = this.#givenOf(model)
      let index = -1
      for (const each of uploads.waiting) {
        if (index < 0 || (given.get(each) ?? 0) < (given.get(index) ?? 0)) index = each
      }
      const earlier = given.get(index) ?? 0
      given.set(index, earlier + 1)
      uploads.waiting.delete(index)
      uploads.reading.add(index)
      void this.#readPiece(link, index, earlier)
    }
  }

  /** Pieces. */
  #readAhead(pieceBytes: number): number {
    const { rate } = this.bucket
    if (rate === Number.POSITIVE_INFINITY) return Math.max(READ_AHEAD_PIECES, READ_AHEAD_BYTES / pieceBytes)
    return Math.max(1, Math.min(READ_AHEAD_BYTES, rate * READ_AHEAD_SECONDS) / pieceBytes)
  }

  async #readPiece({ uploads, model }: PieceLink, index: number, earlier: number): Promise<void> {
    try {
      const bytes = await model.read(index)
      if (!uploads.reading.delete(index)) return // cancelled, or its stream has ended
      const upload: Upload = { index, earlier, bytes, offset: 0 }
      uploads.ready.push(upload)
    } catch {
      uploads.fail(index) // dropped from the store since it was requested: others have it
    }
    this.requested()
  }

  #givenOf(model: StoredModel): Map<number, number> {
    const known = this.#given.get(model)
    if (known !== undefined) return known
    const given = new Map<number, number>()
    this.#given.set(model, given)
    return given
  }
}
