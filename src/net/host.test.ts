// What streams to others and to oneself have in common, and connections.
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { createHost } from './host.ts'
import type { ControlStream, DataReceiver, Handlers, Host, Listener } from './types.ts'
import type { Accepted, ControlMessage, Frame, Info } from './wire/types.ts'

const WIDTH = 1_024
const LIMITS = { width: WIDTH, maxRows: 4_096 }
const TICKET = new Uint8Array(16).fill(7)
const INFO: Info = { version: '1', stages: [], addresses: ['/ip4/127.0.0.1/tcp/1'], peers: [] }

/** A listener whose values and end can be awaited. */
class Recorder<T> implements Listener<T> {
  readonly values: T[] = []
  readonly ended = Promise.withResolvers<Error | undefined>()
  #wanted = { count: Number.POSITIVE_INFINITY, resolve: (_: T[]) => {} }

  receive(value: T): void {
    this.values.push(value)
    if (this.values.length >= this.#wanted.count) this.#wanted.resolve(this.values)
  }

  end(error?: Error): void {
    this.ended.resolve(error)
  }

  /** Resolves when that many have come. */
  has(count: number): Promise<T[]> {
    if (this.values.length >= count) return Promise.resolve(this.values)
    return new Promise((resolve) => {
      this.#wanted = { count, resolve }
    })
  }
}

function rows(count: number, position = 0): Frame {
  return {
    epoch: 0,
    follows: 0,
    position,
    tokens: new Int32Array(count).fill(position),
    sample: 'last',
    codec: 'f32',
    payload: new Uint8Array(count * WIDTH * 4).fill(position)
  }
}

const ACCEPTED = { epoch: 3, length: 70_000, maxRows: 512 }
const STATE = { epoch: 1, length: 9, computed: 8, receivedBytes: 2 ** 40, stepMicroseconds: 5 }

let consumer: Host
let provider: Host
let handlers: Handlers
let controls: Recorder<ControlStream>
let receivers: Recorder<DataReceiver>

beforeEach(async () => {
  controls = new Recorder()
  receivers = new Recorder()
  handlers = {
    info: () => INFO,
    control: (stream) => controls.receive(stream),
    data: (ticket, stream) => {
      if (Buffer.compare(ticket, TICKET) !== 0) return undefined
      receivers.receive(stream)
      return ACCEPTED
    }
  }
  consumer = createHost({ identity: { ephemeral: true }, listen: [] })
  provider = createHost({ identity: { ephemeral: true }, listen: ['/ip4/127.0.0.1/tcp/0'] })
  provider.serve(handlers)
  await Promise.all([consumer.start(), provider.start()])
})

/** The consumer is the provider. */
async function meetOneself(): Promise<void> {
  await consumer.stop()
  consumer = provider
}

afterEach(async () => {
  await Promise.all([consumer.stop(), provider.stop()])
})

async function controlPair() {
  const ours = await consumer.openControl(provider.peerId, provider.addresses)
  const theirs = (await controls.has(1))[0]!
  return { ours, theirs, heard: new Recorder<ControlMessage>() }
}

async function dataPair() {
  const sender = await consumer.openData(provider.peerId, provider.addresses, TICKET)
  const receiver = (await receivers.has(1))[0]!
  return { sender, receiver, heard: new Recorder<Frame>() }
}

describe('connections', () => {
  test('the peer that answers is named', async () => {
    expect(await consumer.connect(provider.addresses[0]!)).toBe(provider.peerId)
    expect(consumer.peers).toEqual([provider.peerId])
  })

  test('addresses end in the peer id', () => {
    expect(provider.addresses).toEqual([
      expect.stringMatching(`^/ip4/127.0.0.1/tcp/\\d+/p2p/${provider.peerId}$`)
    ])
  })

  test('what is not loopback is not dialled by default', async () => {
    const denied = consumer.connect('/ip4/192.0.2.1/tcp/4001')
    await expect(denied).rejects.toMatchObject({ code: 'DIAL_DENIED' })
  })

  test('a gate of one own is asked', async () => {
    const asked: string[] = []
    const dialGate = (address: string) => asked.push(address) < 0
    const careful = createHost({ identity: { ephemeral: true }, listen: [], dialGate })
    await careful.start()
    const denied = careful.connect(provider.addresses[0]!)
    await expect(denied).rejects.toMatchObject({ code: 'DIAL_DENIED' })
    expect(asked).toEqual(provider.addresses)
    await careful.stop()
  })

  test('another peer at the address is not taken for the one that was asked for', async () => {
    const address = provider.addresses[0]!.replace(/\/p2p\/.*/, '')
    const wrong = createHost({ identity: { ephemeral: true }, listen: [] }).peerId
    await expect(consumer.openControl(wrong, [address])).rejects.toMatchObject({ code: 'DIAL_FAILED' })
    // Nor where the address itself names it.
    await expect(consumer.openControl(wrong, provider.addresses)).rejects.toMatchObject({
      code: 'DIAL_DENIED'
    })
  })

  test('a host that is gone is heard of', async () => {
    await consumer.connect(provider.addresses[0]!)
    const gone = new Promise((resolve) => consumer.onDisconnect(resolve))
    await provider.stop()
    expect(await gone).toBe(provider.peerId)
  })

  test('a stopped host says so, and can be started again as the same peer', async () => {
    const { peerId } = provider
    await provider.stop()
    await expect(provider.connect('/ip4/127.0.0.1/tcp/1')).rejects.toMatchObject({ code: 'STOPPED' })
    await provider.start()
    expect(await consumer.connect(provider.addresses[0]!)).toBe(peerId)
  })

  test('an aborted signal ends an opening', async () => {
    const opening = consumer.openControl(provider.peerId, provider.addresses, AbortSignal.abort())
    await expect(opening).rejects.toMatchObject({ code: 'DIAL_FAILED' })
  })
})

describe.each(['another node', 'itself'])('to %s', (whom) => {
  beforeEach(async () => {
    if (whom === 'itself') await meetOneself()
  })

  describe('info', () => {
    test('is what the other side says', async () => {
      expect(await consumer.info(provider.peerId, provider.addresses)).toEqual(INFO)
    })

    test('that cannot be given resets the stream and leaves the connection', async () => {
      handlers.info = () => {
        throw new Error('no')
      }
      await expect(consumer.info(provider.peerId, provider.addresses)).rejects.toThrow()
      handlers.info = () => INFO
      expect(await consumer.info(provider.peerId, [])).toEqual(INFO)
    })
  })

  test('questions are answered, or refused where nobody answers', async () => {
    const ask = () => consumer.ask(provider.peerId, provider.addresses, { type: 'probe' })
    expect(await ask()).toMatchObject({ type: 'refused', code: 'unsupported' })
    handlers.ask = (peer, { type }) => ({ type: 'refused', code: 'busy', message: `${peer} ${type}` })
    expect(await ask()).toEqual({ type: 'refused', code: 'busy', message: `${consumer.peerId} probe` })
    const signal = AbortSignal.abort(new Error('enough'))
    await expect(consumer.ask(provider.peerId, [], { type: 'probe' }, signal)).rejects.toThrow('enough')
  })

  describe('control streams', () => {
    test('carry messages both ways, in order', async () => {
      const { ours, theirs, heard } = await controlPair()
      theirs.start({
        receive: (message) =>
          message.type === 'ping' && theirs.send({ type: 'pong', nonce: message.nonce, ...STATE }),
        end: () => {}
      })
      ours.start(heard)
      for (let nonce = 0; nonce < 100; nonce++) ours.send({ type: 'ping', nonce })
      const expected = Array.from({ length: 100 }, (_, nonce) => ({ type: 'pong', nonce, ...STATE }))
      expect(await heard.has(100)).toEqual(expected)
    })

    test('keep what comes before start', async () => {
      const { ours, theirs, heard } = await controlPair()
      ours.send({ type: 'ping', nonce: 1 })
      await consumer.info(provider.peerId, []) // a round trip on the same connection: the ping has come
      theirs.start(heard)
      expect(await heard.has(1)).toEqual([{ type: 'ping', nonce: 1 }])
    })

    test('closed by one end, end for both in good order, with all that was sent', async () => {
      const { ours, theirs, heard } = await controlPair()
      const own = new Recorder<ControlMessage>()
      ours.start(own)
      theirs.start(heard)
      ours.send({ type: 'close' })
      await ours.close()
      expect(await heard.ended.promise).toBeUndefined()
      expect(heard.values).toEqual([{ type: 'close' }])
      expect(await own.ended.promise).toBeUndefined()
      expect(ours.send({ type: 'close' })).toBe(false)
    })

    test('reset by one end, end for the other with an error', async () => {
      const { ours, theirs, heard } = await controlPair()
      const own = new Recorder<ControlMessage>()
      ours.start(own)
      theirs.start(heard)
      const error = new Error('enough')
      ours.abort(error)
      expect(await heard.ended.promise).toBeInstanceOf(Error)
      expect(await own.ended.promise).toBe(error)
      expect(await ours.closed).toBe(error)
    })

    test('whose connection is lost end with an error', async () => {
      const { ours, theirs, heard } = await controlPair()
      theirs.start(new Recorder())
      ours.start(heard)
      await provider.stop()
      expect(await heard.ended.promise).toBeInstanceOf(Error)
    })

    test('whose listener throws are reset with what it threw, and nothing else is', async () => {
      const { ours, theirs } = await controlPair()
      const thrown = new Error('a bug')
      theirs.start({
        receive: () => {
          throw thrown
        },
        end: () => {}
      })
      ours.send({ type: 'close' })
      expect(await theirs.closed).toBe(thrown)
      expect(await consumer.info(provider.peerId, [])).toEqual(INFO)
    })

    test('closed by both ends at once, end for both in good order', async () => {
      const { ours, theirs, heard } = await controlPair()
      const own = new Recorder<ControlMessage>()
      ours.start(own)
      theirs.start(heard)
      await Promise.all([ours.close(), theirs.close(), ours.close()])
      expect(await heard.ended.promise).toBeUndefined()
      expect(await own.ended.promise).toBeUndefined()
    })

    test('that have ended before start say so to who starts', async () => {
      const { ours, theirs, heard } = await controlPair()
      ours.abort(new Error('enough'))
      await theirs.closed
      theirs.start(heard)
      expect(heard.values).toEqual([])
      expect(await heard.ended.promise).toBeInstanceOf(Error)
    })

    test('deliver later, and what was sent as it was then', async () => {
      const { ours, theirs, heard } = await controlPair()
      theirs.start(heard)
      const tokens = [1, 2, 3]
      ours.send({ type: 'tokens', epoch: 0, position: 1, tokens })
      expect(heard.values).toEqual([])
      tokens[0] = 9
      expect(await heard.has(1)).toEqual([{ type: 'tokens', epoch: 0, position: 1, tokens: [1, 2, 3] }])
    })

    test('do not take an invalid message', async () => {
      const { ours } = await controlPair()
      expect(() => ours.send({ type: 'ping', nonce: -1 })).toThrow(
        expect.objectContaining({ code: 'INVALID' })
      )
    })
  })

  describe('data streams', () => {
    test('carry frames as they were, in order', async () => {
      const { sender, receiver, heard } = await dataPair()
      receiver.start(LIMITS, heard)
      const frames = Array.from({ length: 50 }, (_, position) => rows(1 + (position % 3), position))
      for (const frame of frames) await sender.send(frame)
      expect(await heard.has(50)).toEqual(frames)
      await sender.close()
      expect(await heard.ended.promise).toBeUndefined()
      expect(receiver.bytesReceived).toBeGreaterThanOrEqual(
        frames.reduce((sum, frame) => sum + frame.payload.byteLength, 0)
      )
    })

    test('carry frames larger than the window', async () => {
      const { sender, receiver, heard } = await dataPair()
      receiver.start(LIMITS, heard)
      const large = rows(4_096, 1)
      await sender.send(large)
      const [received] = await heard.has(1)
      expect(Buffer.compare(received!.payload, large.payload)).toBe(0)
    })

    test('with a ticket that nobody gave out are refused', async () => {
      const refused = consumer.openData(provider.peerId, provider.addresses, new Uint8Array(16))
      await expect(refused).rejects.toMatchObject({ code: 'REFUSED' })
      expect(receivers.values).toEqual([])
    })

    test('tell the sender what the receiver has', async () => {
      const { sender } = await dataPair()
      expect(sender.accepted).toEqual(ACCEPTED)
    })

    test('may be accepted later', async () => {
      const verdict = Promise.withResolvers<Accepted>()
      handlers.data = () => verdict.promise
      const opening = consumer.openData(provider.peerId, provider.addresses, TICKET)
      verdict.resolve(ACCEPTED)
      expect((await opening).peer).toBe(provider.peerId)
    })

    test('given up while they wait to be accepted, end for the other side', async () => {
      const asked = Promise.withResolvers<DataReceiver>()
      const verdict = Promise.withResolvers<Accepted>()
      handlers.data = (_, stream) => {
        asked.resolve(stream)
        return verdict.promise
      }
      const signal = new AbortController()
      const opening = consumer.openData(provider.peerId, provider.addresses, TICKET, signal.signal)
      const receiver = await asked.promise
      signal.abort()
      await expect(opening).rejects.toThrow()
      expect(await receiver.closed).toBeInstanceOf(Error)
      verdict.resolve(ACCEPTED)
    })

    test('whose handler throws are refused', async () => {
      handlers.data = () => {
        throw new Error('a bug')
      }
      const refused = consumer.openData(provider.peerId, provider.addresses, TICKET)
      await expect(refused).rejects.toMatchObject({ code: 'REFUSED' })
    })

    test('take no frame that is none, and no rows of another width', async () => {
      const { sender, receiver, heard } = await dataPair()
      receiver.start({ ...LIMITS, width: WIDTH / 2 }, heard)
      await expect(sender.send({ ...rows(1), payload: new Uint8Array(3) })).rejects.toMatchObject({
        code: 'INVALID'
      })
      void sender.send(rows(1))
      expect(await heard.ended.promise).toMatchObject({ code: 'MALFORMED' })
    })

    test('with more rows than the receiver takes are reset by it', async () => {
      const { sender, receiver, heard } = await dataPair()
      receiver.start({ width: WIDTH, maxRows: 1 }, heard)
      void sender.send(rows(2))
      expect(await heard.ended.promise).toMatchObject({ code: 'TOO_LARGE' })
      expect(await sender.closed).toBeInstanceOf(Error)
      await expect(sender.send(rows(1))).rejects.toMatchObject({ code: 'CLOSED' })
    })

    test('hold a sender back while the receiver is paused, and lose nothing', async () => {
      const { sender, receiver, heard } = await dataPair()
      receiver.start(LIMITS, heard)
      await sender.send(rows(1))
      await heard.has(1)
      receiver.pause()
      let sent = 0
      const count = 8 // of 4 MiB each: above the window and what the kernel holds
      const sending = (async () => {
        for (; sent < count; sent++) await sender.send(rows(1_024, sent))
      })()
      // Many round trips on the same connection: time enough for all that could be sent.
      for (let i = 0; i < 50; i++) await consumer.info(provider.peerId, [])
      expect(sent).toBeLessThan(count)
      expect(heard.values).toHaveLength(1)
      receiver.resume()
      await sending
      const positions = (await heard.has(1 + count)).slice(1).map((frame) => frame.position)
      expect(positions).toEqual([...Array(count).keys()])
    })

    test('paused between two frames that came together, and ended, give the second one first', async () => {
      const { sender, receiver, heard } = await dataPair()
      void sender.send(rows(1, 0))
      void sender.send(rows(1, 1))
      const closing = sender.close()
      await consumer.info(provider.peerId, []) // a round trip on the same connection: all of it has come
      receiver.start(LIMITS, {
        receive: (frame) => {
          heard.receive(frame)
          receiver.pause()
        },
        end: (error) => heard.end(error)
      })
      expect(heard.values).toHaveLength(1)
      receiver.resume()
      expect(heard.values).toHaveLength(2)
      receiver.resume()
      expect(await heard.ended.promise).toBeUndefined()
      await closing
    })

    test('that fail to send do not end the process when nobody looks', async () => {
      const unhandled: unknown[] = []
      const note = (reason: unknown) => unhandled.push(reason)
      process.on('unhandledRejection', note)
      const { sender, receiver } = await dataPair()
      receiver.pause()
      for (let i = 0; i < 4; i++) void sender.send(rows(1_024))
      receiver.abort(new Error('enough'))
      await sender.closed
      void sender.send(rows(1))
      await consumer.info(provider.peerId, []) // turns of the event loop, in which rejections are reported
      process.off('unhandledRejection', note)
      expect(unhandled).toEqual([])
    })

    test('that wait fail when the other side resets', async () => {
      const { sender, receiver, heard } = await dataPair()
      receiver.start(LIMITS, heard)
      receiver.pause()
      const sending = (async () => {
        for (;;) await sender.send(rows(1_024))
      })()
      receiver.abort(new Error('enough'))
      await expect(sending).rejects.toMatchObject({ code: 'CLOSED' })
    })
  })
})
