// Messages arrive whole and in order, however the socket cuts them.
import { EventEmitter } from 'node:events'
import type { Socket } from 'node:net'
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { Channel, type Message } from './channel.ts'

/** A socket that keeps what is written, and gives what it is told to. */
class FakeSocket extends EventEmitter {
  readonly written: Buffer[] = []
  cork(): void {}
  uncork(): void {}
  write(bytes: Uint8Array): boolean {
    this.written.push(Buffer.from(bytes))
    return true
  }
}

const message = fc.record({
  head: fc.dictionary(fc.string(), fc.oneof(fc.string({ unit: 'grapheme' }), fc.integer(), fc.boolean())),
  parts: fc.array(fc.oneof(fc.uint8Array(), fc.float32Array(), fc.int32Array()), { maxLength: 3 })
})

test('what is sent is received, over any cuts of the stream', () => {
  const cuts = fc.infiniteStream(fc.oneof(fc.constant(1), fc.integer({ min: 1, max: 40 }), fc.constant(1000)))
  const property = fc.property(fc.array(message, { maxLength: 6 }), cuts, (messages, sizes) => {
    const sending = new FakeSocket()
    const sender = new Channel(sending as unknown as Socket, () => {})
    for (const { head, parts } of messages) sender.send(head, parts)
    const stream = Buffer.concat(sending.written)

    const receiving = new FakeSocket()
    const received: Message[] = []
    new Channel(receiving as unknown as Socket, (one) => received.push(one))
    for (let offset = 0; offset < stream.length; ) {
      const size = sizes.next().value
      receiving.emit('data', stream.subarray(offset, offset + size))
      offset += size
    }

    expect(received.map(({ head }) => head)).toEqual(messages.map(({ head }) => ({ ...head })))
    for (const [index, { body }] of received.entries()) {
      const parts = messages[index]?.parts ?? []
      const bytes = parts.map(
        ({ buffer, byteOffset, byteLength }) => new Uint8Array(buffer, byteOffset, byteLength)
      )
      expect(Buffer.from(body)).toEqual(Buffer.concat(bytes))
      expect(body.byteOffset % 4).toBe(0)
    }
  })
  fc.assert(property, { numRuns: 500, seed: 7 })
})

test('a message is delivered before the next one has come', () => {
  const socket = new FakeSocket()
  const heads: unknown[] = []
  const channel = new Channel(socket as unknown as Socket, ({ head }) => heads.push(head.id))
  channel.send({ id: 1 })
  channel.send({ id: 2 }, [new Uint8Array(5)])
  const [first, second] = socket.written
  socket.emit('data', Buffer.concat([first as Buffer, second?.subarray(0, 9) as Buffer]))
  expect(heads).toEqual([1])
  socket.emit('data', second?.subarray(9, -1))
  expect(heads).toEqual([1])
  socket.emit('data', second?.subarray(-1))
  expect(heads).toEqual([1, 2])
})

test('a body is aligned, and no Buffer whose slices are not copies', () => {
  const socket = new FakeSocket()
  const bodies: Uint8Array[] = []
  const channel = new Channel(socket as unknown as Socket, ({ body }) => bodies.push(body))
  for (const length of [3, 100_000, 5]) channel.send({}, [new Uint8Array(length).fill(9)])
  for (const bytes of socket.written) socket.emit('data', bytes)
  expect(bodies.map((body) => [body.length, body.byteOffset % 4, body.constructor])).toEqual([
    [3, 0, Uint8Array],
    [100_000, 0, Uint8Array],
    [5, 0, Uint8Array]
  ])
})
