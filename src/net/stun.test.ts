import { createSocket, type Socket } from 'node:dgram'
import { once } from 'node:events'
import { multiaddr } from '@multiformats/multiaddr'
import fc from 'fast-check'
import { afterEach, describe, expect, test } from 'vitest'
import { answerBinding, StunServer, stunServers } from './stun.ts'

/** RFC 5769, 2.1 has this transaction id; 2.2 and 2.3 answer it with these addresses. */
const TRANSACTION = 'b7e7a701bc34d686fa87dfae'
const request = (extra = ''): Buffer => {
  const length = (extra.length / 2).toString(16).padStart(4, '0')
  return Buffer.from(`0001${length}2112a442${TRANSACTION}${extra}`, 'hex')
}

describe('a binding request', () => {
  test.each([
    ['192.0.2.1', '00080001a147e112a643'],
    ['2001:db8:1234:5678:11:2233:4455:6677', '00140002a1470113a9faa5d3f179bc25f4b5bed2b9d9']
  ])('from %s is answered as RFC 5769 has it', (address, mapped) => {
    const answer = Buffer.from(answerBinding(request(), { address, port: 32853 }) ?? [])
    const attribute = `0020${mapped}` // the RFC's answers have others around it
    const length = (attribute.length / 2).toString(16).padStart(4, '0')
    expect(answer.toString('hex')).toBe(`0101${length}2112a442${TRANSACTION}${attribute}`)
  })

  test('may have attributes', () => {
    expect(answerBinding(request('80280004deadbeef'), { address: '127.0.0.1', port: 1 })).toHaveLength(32)
  })

  test.each([
    ['another method', `0003${request().toString('hex').slice(4)}`],
    ['a response', `0101${request().toString('hex').slice(4)}`],
    ['another cookie', `000100002112a443${TRANSACTION}`],
    ['a length that is not its own', `000100042112a442${TRANSACTION}`],
    ['half a header', '000100002112a442']
  ])('is not %s', (_, bytes) => {
    expect(answerBinding(Buffer.from(bytes, 'hex'), { address: '127.0.0.1', port: 1 })).toBeUndefined()
  })

  test('is not what comes by chance', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 600 }), (bytes) => {
        expect(answerBinding(bytes, { address: '127.0.0.1', port: 1 })).toBeUndefined()
      }),
      { seed: 1 }
    )
  })
})

describe('the server', () => {
  const sockets: Socket[] = []
  let server: StunServer | undefined

  afterEach(async () => {
    await server?.stop()
    for (const socket of sockets.splice(0)) socket.close()
  })

  async function udp(): Promise<Socket> {
    const socket = createSocket('udp4')
    sockets.push(socket)
    socket.bind(0, '127.0.0.1')
    await once(socket, 'listening')
    return socket
  }

  test('tells who asks where it sees them, and is silent to others', async () => {
    const free = await udp()
    const { port } = free.address()
    sockets.pop()
    await new Promise<void>((resolve) => free.close(resolve))
    server = new StunServer('127.0.0.1', port)
    await server.start()

    const asker = await udp()
    asker.send('hello', port, '127.0.0.1')
    asker.send(request(), port, '127.0.0.1')
    const [answer] = (await once(asker, 'message')) as [Buffer]
    expect(answer.readUInt16BE(26) ^ 0x2112).toBe(asker.address().port)
    expect((answer.readUInt32BE(28) ^ 0x2112a442) >>> 0).toBe(0x7f000001)
  })

  test('that finds its port taken says so', async () => {
    const taken = await udp()
    server = new StunServer('127.0.0.1', taken.address().port)
    await expect(server.start()).rejects.toMatchObject({ code: 'EADDRINUSE' })
  })
})

test('relays are asked first, then nodes at public addresses that were dialled, each machine once', () => {
  const peer = '/p2p/12D3KooWGSmmKdFNPiGnY4DzfkTQy6LAZnB9FmGtcNXmtKeMqRvC'
  const outbound = [
    '/ip4/8.8.8.8/tcp/1',
    '/ip4/192.168.1.9/tcp/1',
    `/ip4/8.8.4.4/tcp/2/ws${peer}/p2p-circuit${peer}`
  ]
  const inbound = [
    `/ip6/2620:fe::fe/tcp/3${peer}/p2p-circuit${peer}`,
    '/ip4/1.1.1.1/tcp/40000',
    `/webrtc${peer}`
  ]
  const connections = [
    ...outbound.map((address) => ({ remoteAddr: multiaddr(address), direction: 'outbound' as const })),
    ...inbound.map((address) => ({ remoteAddr: multiaddr(address), direction: 'inbound' as const }))
  ]
  const expected = ['stun:8.8.4.4:3478', 'stun:[2620:fe::fe]:3478', 'stun:8.8.8.8:3478']
  expect(stunServers([...connections, ...connections]).map(({ urls }) => urls)).toEqual(expected)
})
