/**
 * Messages between the engine's process and its parent over a Unix socket: a small JSON head and raw bytes
 * (rows, logits). Every token passes here twice per hop, so the usual message is one write and is read in place.
 */
import type { Socket } from 'node:net'

export interface Message {
  readonly head: Record<string, unknown>
  /** 4-byte aligned. */
  readonly body: Uint8Array
}

/** `u32 head length, u32 body length`, little-endian; the head is padded with spaces to 4 bytes. */
const PREFIX_BYTES = 8
const SPACE = 0x20
/** Up to here copying a body beside its head costs less than writing it apart. */
const COPY_BYTES = 65_536

export class Channel {
  readonly #socket: Socket
  readonly #onMessage: (message: Message) => void
  /** What came of a message that is not whole yet; its length is known once the prefix is there. */
  #partial: Buffer | undefined
  #filled = 0

  constructor(socket: Socket, onMessage: (message: Message) => void) {
    this.#socket = socket
    this.#onMessage = onMessage
    socket.on('data', (chunk) => this.#receive(chunk))
  }

  send(head: Record<string, unknown>, parts: readonly ArrayBufferView[] = []): void {
    const json = JSON.stringify(head)
    const headBytes = Math.ceil(Buffer.byteLength(json) / 4) * 4
    const bodyBytes = parts.reduce((sum, part) => sum + part.byteLength, 0)
    const isSmall = bodyBytes <= COPY_BYTES
    const start = Buffer.allocUnsafe(PREFIX_BYTES + headBytes + (isSmall ? bodyBytes : 0))
    start.writeUInt32LE(headBytes, 0)
    start.writeUInt32LE(bodyBytes, 4)
    const end = PREFIX_BYTES + start.write(json, PREFIX_BYTES)
    start.fill(SPACE, end, PREFIX_BYTES + headBytes)
    let offset = PREFIX_BYTES + headBytes
    if (isSmall) {
      for (const part of parts) {
        start.set(bytesOf(part), offset)
        offset += part.byteLength
      }
      this.#socket.write(start)
      return
    }
    this.#socket.cork()
    this.#socket.write(start)
    for (const part of parts) this.#socket.write(bytesOf(part))
    this.#socket.uncork()
  }

  #receive(chunk: Buffer): void {
    let offset = this.#partial === undefined ? 0 : this.#complete(chunk)
    while (this.#partial === undefined && offset < chunk.length) {
      const length = chunk.length - offset
      const total = length < PREFIX_BYTES ? PREFIX_BYTES : messageLength(chunk, offset)
      if (total > length || length < PREFIX_BYTES) {
        this.#partial = Buffer.allocUnsafeSlow(total)
        this.#filled = chunk.copy(this.#partial, 0, offset)
        return
      }
      const whole = chunk.subarray(offset, offset + total)
      offset += total
      this.#deliver(isAligned(whole) ? whole : Buffer.from(new Uint8Array(whole).buffer))
    }
  }

  /** Adds to the message that began earlier; gives where the next one begins. */
  #complete(chunk: Buffer): number {
    let offset = 0
    while (this.#partial !== undefined && offset < chunk.length) {
      const copied = chunk.copy(this.#partial, this.#filled, offset)
      offset += copied
      this.#filled += copied
      if (this.#filled < this.#partial.length) break
      const message = this.#partial
      const total = messageLength(message, 0)
      if (message.length < total) {
        this.#partial = Buffer.allocUnsafeSlow(total)
        message.copy(this.#partial)
      } else {
        this.#partial = undefined
        this.#deliver(message)
      }
    }
    return offset
  }

  #deliver(message: Buffer): void {
    const bodyStart = PREFIX_BYTES + message.readUInt32LE(0)
    const head = JSON.parse(message.toString('utf8', PREFIX_BYTES, bodyStart)) as Record<string, unknown>
    // not a Buffer, whose `slice` does not copy
    this.#onMessage({ head, body: bytesOf(message.subarray(bodyStart)) })
  }
}

function messageLength(bytes: Buffer, offset: number): number {
  return PREFIX_BYTES + bytes.readUInt32LE(offset) + bytes.readUInt32LE(offset + 4)
}

function bytesOf(view: ArrayBufferView): Uint8Array {
  return new Uint8Array(view.buffer, view.byteOffset, view.byteLength)
}

function isAligned(view: Uint8Array): boolean {
  return view.byteOffset % 4 === 0
}
