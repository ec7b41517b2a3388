/** What this node has requested of one peer. Each request is answered: by the piece, or by its rejection. */
import { type PieceChunk, WireError } from '../../net/index.ts'
import type { PieceTable } from '../pieces.ts'
import { MAX_REQUESTS } from './limits.ts'

interface Request {
  /** Undefined: cancelled, and its answer is still to come. */
  resolve: ((bytes: Uint8Array | undefined) => void) | undefined
  /** From its first chunk on. */
  piece: Uint8Array | undefined
  filled: number
}

export class Downloads {
  /** Of pieces. */
  bytes = 0
  readonly #table: PieceTable
  readonly #send: (type: 'request' | 'cancel', indices: number[]) => void
  readonly #requests = new Map<number, Request>()
  /** To be sent together: those that follow the pieces of one read from the socket. */
  #queued: number[] = []

  constructor(table: PieceTable, send: (type: 'request' | 'cancel', indices: number[]) => void) {
    this.#table = table
    this.#send = send
  }

  /** Unchecked bytes; undefined when it was cancelled, or will not come. */
  request(index: number): Promise<Uint8Array | undefined> {
    const { promise, resolve } = Promise.withResolvers<Uint8Array | undefined>()
    const cancelled = this.#requests.get(index)
    if (cancelled?.resolve !== undefined || this.#requests.size >= MAX_REQUESTS) {
      resolve(undefined)
    } else if (cancelled !== undefined) {
      cancelled.resolve = resolve // the piece may be on its way
    } else {
      this.#requests.set(index, { resolve, piece: undefined, filled: 0 })
      if (this.#queued.push(index) === 1) setImmediate(() => this.#flush())
    }
    return promise
  }

  cancel(index: number): void {
    const request = this.#requests.get(index)
    if (request?.resolve === undefined) return
    request.resolve(undefined)
    request.resolve = undefined
    const queued = this.#queued.indexOf(index)
    if (queued < 0) {
      this.#send('cancel', [index])
      return
    }
    this.#queued.splice(queued, 1)
    this.#requests.delete(index)
  }

  /** Throws a WireError for what nobody asked for. */
  receive({ index, offset, bytes }: PieceChunk): void {
    const request = this.#requests.get(index)
    if (request === undefined || offset !== request.filled) {
      throw new WireError('INVALID', `bytes from ${offset} of piece ${index}, which are not due`, 'chunk')
    }
    request.piece ??= new Uint8Array(this.#table.at(index).byteLength)
    if (offset + bytes.byteLength > request.piece.byteLength) {
      throw new WireError('TOO_LARGE', `more bytes than piece ${index} has`, 'chunk')
    }
    request.piece.set(bytes, offset)
    request.filled += bytes.byteLength
    this.bytes += bytes.byteLength
    if (request.filled < request.piece.byteLength) return
    this.#requests.delete(index)
    request.resolve?.(request.piece)
  }

  /** Throws a WireError for what nobody asked for. */
  reject(indices: readonly number[]): void {
    for (const index of indices) {
      const request = this.#requests.get(index)
      if (request === undefined) throw new WireError('INVALID', `piece ${index} was not requested`, 'indices')
      this.#requests.delete(index)
      request.resolve?.(undefined)
    }
  }

  end(): void {
    for (const { resolve } of this.#requests.values()) resolve?.(undefined)
    this.#requests.clear()
    this.#queued = []
  }

  #flush(): void {
    const indices = this.#queued
    this.#queued = []
    if (indices.length > 0) this.#send('request', indices)
  }
}
