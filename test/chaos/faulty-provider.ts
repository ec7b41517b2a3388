/**
 * A provider with a real node, whose host harms the frames that it sends on when it is told to, by messages from
 * the process that forked it. Noise authenticates all bytes of a connection, so a wire can only cut it: what comes
 * harmed comes from a peer that harms it before it is encrypted.
 */
import { rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { Uint8ArrayList } from 'uint8arraylist'
import { type DataSender, encodedLength, type Frame } from '../../src/net/index.ts'
import { RawStream } from '../../src/net/raw-stream.ts'
import { Node } from '../../src/node/index.ts'
import type { FaultyInit } from './providers.ts'

export type Fault =
  | { readonly kind: 'none' }
  /** No data stream to anybody but `except`, and those that there are break. */
  | { readonly kind: 'cut'; readonly except?: string }
  | { readonly kind: 'slow'; readonly delayMs: number; readonly bitsPerSecond: number }
  /** One frame, `after` so many others: the byte at `offset` of its header is changed by `change`. */
  | { readonly kind: 'corrupt'; readonly after: number; readonly offset: number; readonly change: number }
  /** One frame lacks its end. */
  | { readonly kind: 'truncate'; readonly after: number }
  | { readonly kind: 'duplicate' | 'reorder' | 'drop'; readonly after: number }
  /** The replay log has no disk. */
  | { readonly kind: 'full' }

/** A frame that overtakes another one: by so much at most, when none follows. */
const REORDER_MS = 100
/** Less than a long prompt's rows, so that the log of a demo's session goes to the disk. */
const LOG_BYTES = 128 * 1024

const { model, span, folder, context, sessions, threads } = JSON.parse(process.argv[2] ?? '{}') as FaultyInit
const [start = 0, end = 0] = span.split('-').map(Number)
const node = new Node({
  dataDir: folder,
  listen: ['/ip4/127.0.0.1/tcp/0'],
  peers: [],
  replayMemoryBytes: LOG_BYTES,
  hosting: { model, blocks: { start, end }, context, sessions, threads, kvType: 'f16', gpuLayers: 0 }
})

let fault: Fault = { kind: 'none' }
let seen = 0
let struck = 0
const senders = new Set<DataSender>()
/** What is done to the bytes that a stream is given right now. */
let harm: ((bytes: Uint8Array) => Uint8Array) | undefined

const { write } = RawStream.prototype
RawStream.prototype.write = function (this: RawStream, bytes): boolean {
  return write.call(this, harm === undefined ? bytes : new Uint8ArrayList(harm(bytes.slice())))
}

function harmed(change: (bytes: Uint8Array) => Uint8Array, send: () => Promise<void>): Promise<void> {
  struck += 1
  harm = change
  try {
    return send()
  } finally {
    harm = undefined
  }
}

/** Whether it is this frame's turn; once per command. */
function isStruck({ after }: { readonly after: number }): boolean {
  seen += 1
  return seen === after + 1
}

class FaultySender implements DataSender {
  readonly #sender: DataSender
  /** When the slow link has taken what it was given. */
  #freeAt = 0
  #delivered: Promise<void> = Promise.resolve()
  #held: Frame | undefined

  constructor(sender: DataSender) {
    this.#sender = sender
  }

  get peer(): string {
    return this.#sender.peer
  }

  get accepted(): DataSender['accepted'] {
    return this.#sender.accepted
  }

  get closed(): Promise<Error | undefined> {
    return this.#sender.closed
  }

  get bytesSent(): number {
    return this.#sender.bytesSent
  }

  close(): Promise<void> {
    return this.#sender.close()
  }

  abort(error: Error): void {
    this.#sender.abort(error)
  }

  send(frame: Frame): Promise<void> {
    const pass = (): Promise<void> => this.#sender.send(frame)
    if (this.#held !== undefined) return this.#release(frame)
    switch (fault.kind) {
      case 'slow':
        return this.#slowly(frame, fault)
      case 'corrupt': {
        if (!isStruck(fault)) return pass()
        const { offset, change } = fault
        return harmed((bytes) => bytes.with(offset, (bytes[offset] ?? 0) ^ change), pass)
      }
      case 'truncate':
        return isStruck(fault) ? harmed((bytes) => bytes.subarray(0, bytes.length - 7), pass) : pass()
      case 'duplicate':
        if (isStruck(fault)) {
          struck += 1
          void pass()
        }
        return pass()
      case 'drop':
        if (!isStruck(fault)) return pass()
        struck += 1
        return Promise.resolve()
      case 'reorder':
        if (!isStruck(fault)) return pass()
        struck += 1
        this.#held = { ...frame, payload: frame.payload.slice() }
        setTimeout(() => void this.#release(), REORDER_MS)
        return Promise.resolve()
      default:
        return pass()
    }
  }

  /** Sends the frame that was held back, after this one. */
  #release(frame?: Frame): Promise<void> {
    const held = this.#held
    this.#held = undefined
    const sent = frame === undefined ? Promise.resolve() : this.#sender.send(frame)
    if (held !== undefined) void this.#sender.send(held)
    return sent
  }

  /** Resolves when the link has taken the frame; it comes out `delayMs` later. */
  async #slowly(
    frame: Frame,
    { delayMs, bitsPerSecond }: { delayMs: number; bitsPerSecond: number }
  ): Promise<void> {
    struck += 1
    const sendMs = (encodedLength(frame) * 8_000) / bitsPerSecond
    this.#freeAt = Math.max(performance.now(), this.#freeAt) + sendMs
    const takenAt = this.#freeAt
    const copy = { ...frame, payload: frame.payload.slice() }
    this.#delivered = this.#delivered
      .then(() => delay(Math.max(0, takenAt + delayMs - performance.now())))
      .then(() => this.#sender.send(copy))
      .catch(() => {})
    await delay(Math.max(0, takenAt - performance.now()))
  }
}

const openData = node.host.openData.bind(node.host)
node.host.openData = async (peer, addresses, ticket, signal) => {
  if (fault.kind === 'cut' && peer !== fault.except) {
    struck += 1
    throw new Error(`the link to ${peer} is cut`)
  }
  const sender = new FaultySender(await openData(peer, addresses, ticket, signal))
  senders.add(sender)
  void sender.closed.then(() => senders.delete(sender))
  return sender
}

process.on('message', async (wanted: Fault) => {
  fault = wanted
  seen = 0
  if (wanted.kind === 'cut') {
    const cut = [...senders].filter(({ peer }) => peer !== wanted.except)
    struck += cut.length
    for (const sender of cut) sender.abort(new Error('the link is cut'))
  }
  if (wanted.kind === 'full') {
    const replay = join(folder, 'replay')
    await rm(replay, { recursive: true, force: true })
    await writeFile(replay, '') // no folder: nothing can be created in it
  }
  process.send?.({ struck })
})
process.once('disconnect', () => process.exit())

await node.start()
process.send?.({ peer: node.host.peerId, address: node.host.addresses[0] })
