/** A peer as a source of pieces. */
import { ShoalError } from '../../common/index.ts'
import type { PieceReceived, PieceSource } from '../contract.ts'
import type { PieceLink } from './link.ts'

export interface SourceChanges {
  /** It has this piece, too. */
  onHave(index: number): void
  /** `isReady` may have changed. */
  onReady(): void
}

/** A source that changes. */
export interface LiveSource extends PieceSource {
  /** Whether it gives any now: a peer may choke. */
  readonly isReady: boolean
  /** It will never give any again. */
  readonly hasEnded: boolean
  /** All that ever came from it, pieces that are not whole yet included. */
  readonly receivedBytes: number
  watch(changes: SourceChanges): () => void
  /** Whether `who` wants something that it has. */
  want(who: object, isWanted: boolean): void
}

export class PeerSource implements LiveSource {
  readonly kind = 'peer'
  readonly #link: PieceLink
  readonly #wanting = new Set<object>()

  constructor(link: PieceLink) {
    this.#link = link
  }

  get name(): string {
    return this.#link.peer
  }

  get isReady(): boolean {
    return this.#link.isReady
  }

  get hasEnded(): boolean {
    return this.#link.hasEnded
  }

  get receivedBytes(): number {
    return this.#link.downloads.bytes
  }

  has(index: number): boolean {
    return this.#link.theirs.has(index)
  }

  watch(changes: SourceChanges): () => void {
    this.#link.listeners.add(changes)
    return () => this.#link.listeners.delete(changes)
  }

  want(who: object, isWanted: boolean): void {
    const before = this.#wanting.size > 0
    if (isWanted) this.#wanting.add(who)
    else this.#wanting.delete(who)
    if (before !== this.#wanting.size > 0) this.#link.say(before ? 'uninterested' : 'interested')
  }

  /** Gives up on pieces that the peer rejects. */
  async fetch(
    indices: readonly number[],
    onPiece: (piece: PieceReceived) => void,
    signal: AbortSignal
  ): Promise<void> {
    signal.throwIfAborted()
    const { downloads } = this.#link
    const cancel = (): void => {
      for (const index of indices) downloads.cancel(index)
    }
    signal.addEventListener('abort', cancel, { once: true })
    try {
      await Promise.all(
        indices.map(async (index) => {
          const bytes = await downloads.request(index)
          if (bytes !== undefined) onPiece({ index, bytes })
        })
      )
      signal.throwIfAborted()
      if (this.hasEnded) throw new ShoalError('CLOSED', `${this.name} exchanges no more pieces`)
    } finally {
      signal.removeEventListener('abort', cancel)
    }
  }

  close(): Promise<void> {
    return this.#link.stream.close()
  }
}
