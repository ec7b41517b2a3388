import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import { FakeData, FakeReceiver } from '../../test/streams.ts'
import type { Frame, Listener } from '../net/index.ts'
import { Relays } from './relay.ts'
import { FakeHost } from './testing.ts'

const LIMITS = { width: 4, maxRows: 512 }

/** Whose other side can end it. */
class Incoming extends FakeReceiver {
  end: Listener<Frame>['end'] = () => {}

  override start(limits: unknown, listener: Listener<Frame>): void {
    this.end = (error) => listener.end(error)
    super.start(limits, listener)
  }
}

let relays: Relays
let sender: FakeData
let receiver: Incoming

beforeEach(() => {
  relays = new Relays()
  sender = new FakeData({ epoch: 3, length: 7 })
  receiver = new Incoming()
})

afterEach(() => {
  vi.useRealTimers()
})

function frame(position: number): Frame {
  const tokens = Int32Array.of(position)
  return { epoch: 0, follows: 0, position, tokens, sample: 'none', codec: 'none', payload: new Uint8Array(0) }
}

const positions = (): number[] => sender.frames.map(({ position }) => position)
const settled = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))

function redeem(): void {
  const { ticket } = relays.to(sender, new FakeHost(), LIMITS)
  relays.accept(ticket, receiver)
}

describe('a relay', () => {
  test('has an address of ours, and says what the stage behind it has', () => {
    const host = new FakeHost()
    const { peer, addresses, ticket } = relays.to(sender, host, LIMITS)
    expect([peer, addresses, ticket.length]).toEqual([host.peerId, host.addresses, 16])
    expect(relays.accept(ticket, receiver)).toEqual(sender.accepted)
  })

  test('passes frames on in order', async () => {
    redeem()
    for (const position of [7, 8, 9]) {
      receiver.push(frame(position))
      await settled()
    }
    expect(positions()).toEqual([7, 8, 9])
  })

  test('holds up the one before while the one after takes no more', async () => {
    redeem()
    sender.room = 2
    for (const position of [0, 1, 2, 3]) receiver.push(frame(position))
    await settled()
    expect(positions()).toEqual([0, 1])
    expect(receiver.isPaused).toBe(true)
    sender.drain()
    await settled()
    expect(positions()).toEqual([0, 1, 2, 3])
    expect(receiver.isPaused).toBe(false)
  })

  test('ends at the one before when the one after ends', async () => {
    redeem()
    sender.abort(new Error('reset'))
    await settled()
    expect(await receiver.closed).toEqual(new Error('reset'))
  })

  test('ends with an error at the one before when the one after closes', async () => {
    redeem()
    await sender.close()
    expect(await receiver.closed).toBeInstanceOf(Error)
  })

  test('ends at the one after as it does at the one before', async () => {
    redeem()
    receiver.end()
    expect(await sender.closed).toBeUndefined()
    const other = { sender: new FakeData(), receiver: new Incoming() }
    relays.accept(relays.to(other.sender, new FakeHost(), LIMITS).ticket, other.receiver)
    other.receiver.end(new Error('reset'))
    expect(await other.sender.closed).toEqual(new Error('reset'))
  })
})

describe('a ticket', () => {
  test('of nobody is left to others', () => {
    relays.to(sender, new FakeHost(), LIMITS)
    expect(relays.accept(new Uint8Array(16), receiver)).toBeUndefined()
  })

  test('is good for one stream', () => {
    const { ticket } = relays.to(sender, new FakeHost(), LIMITS)
    expect(relays.accept(ticket, receiver)).toBeDefined()
    expect(relays.accept(ticket, new Incoming())).toBeUndefined()
  })

  test('that nobody redeems in time is void, and its stream ends', async () => {
    vi.useFakeTimers()
    const { ticket } = relays.to(sender, new FakeHost(), LIMITS)
    vi.advanceTimersByTime(9_999)
    expect(sender.hasEnded).toBe(false)
    vi.advanceTimersByTime(1)
    expect(await sender.closed).toEqual(new Error('nobody came to be relayed'))
    expect(relays.accept(ticket, receiver)).toBeUndefined()
  })

  test('that was redeemed has no deadline', () => {
    vi.useFakeTimers()
    redeem()
    vi.advanceTimersByTime(60_000)
    expect(sender.hasEnded).toBe(false)
  })
})
