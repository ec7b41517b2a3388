/** Where two stages can't reach each other, the consumer passes frames on: both have a connection to it. */
import { randomBytes } from 'node:crypto'
import type { Accepted, DataReceiver, DataSender, FrameLimits, NextHop, SessionHost } from '../net/index.ts'
import { TICKET_BYTES } from './hop.ts'

/** The hop before has so long to present the ticket. */
const WAIT_MS = 10_000

export class Relays {
  readonly #waiting = new Map<string, (receiver: DataReceiver) => Accepted>()

  /** A hop presents a ticket; undefined when it is not for a relay. See Handlers.data. */
  accept(ticket: Uint8Array, receiver: DataReceiver): Accepted | undefined {
    return this.#waiting.get(hex(ticket))?.(receiver)
  }

  /** Whatever comes with the ticket of the hop that it gives goes to `sender`. */
  to(sender: DataSender, host: SessionHost, limits: FrameLimits): NextHop {
    const ticket = randomBytes(TICKET_BYTES)
    const key = hex(ticket)
    const forget = (): boolean => this.#waiting.delete(key)
    const timer = setTimeout(() => {
      if (forget()) sender.abort(new Error('nobody came to be relayed'))
    }, WAIT_MS)
    this.#waiting.set(key, (receiver) => {
      clearTimeout(timer)
      forget()
      pass(receiver, sender, limits)
      return sender.accepted
    })
    return { peer: host.peerId, addresses: host.addresses, ticket }
  }
}

function pass(receiver: DataReceiver, sender: DataSender, limits: FrameLimits): void {
  let unsent = 0
  const sent = (): void => {
    unsent -= 1
    if (unsent === 0) receiver.resume()
  }
  receiver.start(limits, {
    receive: (frame) => {
      unsent += 1
      receiver.pause()
      sender.send(frame).then(sent, sent) // `closed` tells of a stream that has ended
    },
    end: (error) => (error === undefined ? void sender.close() : sender.abort(error))
  })
  void sender.closed.then((error) => receiver.abort(error ?? new Error('the stage after the relay closed')))
}

function hex(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString('hex')
}
