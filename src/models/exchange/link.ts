/** Both directions of one piece stream: what the peer has and wants, and what was asked of it. */
import { type Clock, Limits } from '../../common/index.ts'
import {
  type Listener,
  MAX_PIECE_INDICES,
  type PieceChunk,
  type PieceMessage,
  type PieceStream,
  WireError
} from '../../net/index.ts'
import type { StoredModel } from '../contract.ts'
import type { PieceTable } from '../pieces.ts'
import { Bitfield } from './bitfield.ts'
import { Downloads } from './downloads.ts'
import { Uploads } from './uploads.ts'

/**
 * Messages that honest peers send now and then: cancels, rejected requests, changes of mind, what is known already.
 * A choke meets all requests that are on their way, the end of a transfer as many cancels.
 */
const IDLE_TALK = { burst: 2_048, everyMs: 10 }

export interface LinkEvents {
  /** The peer has something new to send. */
  onRequests(link: PieceLink): void
  onInterest(link: PieceLink): void
  onEnd(link: PieceLink, error?: Error): void
}

export interface LinkComponents {
  readonly stream: PieceStream
  readonly model: StoredModel
  readonly clock: Clock
  readonly events: LinkEvents
}

interface SourceListener {
  onHave(index: number): void
  /** It chokes, or no longer; or it has ended. */
  onReady(): void
}

export class PieceLink implements Listener<PieceMessage | PieceChunk> {
  readonly stream: PieceStream
  readonly model: StoredModel
  readonly theirs: Bitfield
  readonly downloads: Downloads
  readonly uploads: Uploads
  /** Whether the peer takes requests. */
  isReady = false
  /** Whether the peer wants something of ours. */
  isInterested = false
  hasEnded = false
  readonly listeners = new Set<SourceListener>()
  readonly #events: LinkEvents
  readonly #talk: Limits
  readonly #stopListening: () => void
  #news: number[] = []

  /** `told` is what the peer was told that there is here, `theirs` what it said. Throws a WireError for a bad one. */
  constructor(
    { stream, model, clock, events }: LinkComponents,
    { told, theirs }: { told: Uint8Array; theirs: Uint8Array }
  ) {
    const table = model.manifest.pieces as PieceTable
    this.theirs = new Bitfield(theirs, table.count)
    this.stream = stream
    this.model = model
    this.#events = events
    this.#talk = new Limits(clock, IDLE_TALK)
    this.downloads = new Downloads(table, (type, indices) => this.#send({ type, indices }))
    this.uploads = new Uploads((indices) => this.#send({ type: 'reject', indices }))
    this.#stopListening = model.onPiece((index) => this.#tell(index))
    const before = new Bitfield(told, table.count)
    for (let index = 0; index < table.count; index++) {
      if (model.has(index) && !before.has(index)) this.#tell(index)
    }
  }

  get peer(): string {
    return this.stream.peer
  }

  say(type: 'interested' | 'uninterested' | 'choke' | 'unchoke'): void {
    this.#send({ type })
  }

  receive(message: PieceMessage | PieceChunk): void {
    switch (message.type) {
      case 'chunk':
        this.downloads.receive(message)
        break
      case 'reject':
        this.downloads.reject(message.indices)
        break
      case 'have':
        this.#have(message.indices)
        break
      case 'request':
        this.#requested(message.indices)
        break
      case 'cancel':
        for (const index of message.indices) {
          this.#idle()
          this.uploads.cancel(index)
        }
        break
      case 'choke':
      case 'unchoke':
        this.#idle()
        this.isReady = message.type === 'unchoke'
        for (const { onReady } of this.listeners) onReady()
        break
      case 'interested':
      case 'uninterested':
        this.#idle()
        this.isInterested = message.type === 'interested'
        this.#events.onInterest(this)
        break
      default:
        throw new WireError('INVALID', `${message.type} is said at the beginning only`, 'type')
    }
  }

  end(error?: Error): void {
    if (this.hasEnded) return
    this.hasEnded = true
    this.isReady = false
    this.#stopListening()
    this.downloads.end()
    this.uploads.end()
    for (const { onReady } of this.listeners) onReady()
    this.#events.onEnd(this, error)
  }

  #have(indices: readonly number[]): void {
    for (const index of indices) {
      if (this.theirs.add(index)) for (const { onHave } of this.listeners) onHave(index)
      else this.#idle()
    }
  }

  #requested(indices: readonly number[]): void {
    const table = this.model.manifest.pieces as PieceTable
    const rejected: number[] = []
    for (const index of indices) {
      if (index >= table.count) throw new WireError('INVALID', `piece ${index} of ${table.count}`, 'indices')
      if (!this.uploads.isChoked && this.model.has(index)) this.uploads.add(index)
      else rejected.push(index)
    }
    for (const _ of rejected) this.#idle()
    if (rejected.length > 0) this.#send({ type: 'reject', indices: rejected })
    this.#events.onRequests(this)
  }

  /** Counts what does nobody any good. */
  #idle(): void {
    if (!this.#talk.take(this.peer)) throw new WireError('INVALID', `${this.peer} talks and says nothing`)
  }

  /** A piece has come here: who has it, too, need not know. */
  #tell(index: number): void {
    if (this.theirs.has(index) || this.hasEnded) return
    if (this.#news.push(index) === 1) setImmediate(() => this.#flush())
  }

  #flush(): void {
    for (let at = 0; at < this.#news.length; at += MAX_PIECE_INDICES) {
      this.#send({ type: 'have', indices: this.#news.slice(at, at + MAX_PIECE_INDICES) })
    }
    this.#news = []
  }

  #send(message: PieceMessage): void {
    if (!this.hasEnded) this.stream.send(message)
  }
}
