// Counts what goes to the sockets: a change in libp2p's insides that turns the tuning off is seen here.
import { Socket } from 'node:net'
import { expect, test, vi } from 'vitest'
import { createHost } from './host.ts'
import type { Frame } from './wire/types.ts'

const WIDTH = 2_048
const COUNT = 100
const FRAME: Frame = {
  epoch: 0,
  follows: 0,
  position: 0,
  tokens: new Int32Array(1),
  sample: 'last',
  codec: 'f32',
  payload: new Uint8Array(WIDTH * 4)
}

test('a frame is one write of at most 4 x width + 64 bytes, and nothing comes back', async () => {
  const receiver = createHost({ identity: { ephemeral: true }, listen: ['/ip4/127.0.0.1/tcp/0'] })
  const sender = createHost({ identity: { ephemeral: true }, listen: [] })
  let onFrame = () => {}
  receiver.serve({
    info: () => ({ version: '1', stages: [], addresses: [], peers: [] }),
    control: () => {},
    data: (_, stream) => {
      stream.start({ width: WIDTH, maxRows: 1 }, { receive: () => onFrame(), end: () => {} })
      return { epoch: 0, length: 0, maxRows: 1 }
    }
  })
  await Promise.all([receiver.start(), sender.start()])
  const stream = await sender.openData(receiver.peerId, receiver.addresses, new Uint8Array(16))
  const exchange = () =>
    new Promise<void>((resolve) => {
      onFrame = resolve
      void stream.send(FRAME)
    })
  // What opening the connection set going (identify, the first ping) is over after these.
  for (let i = 0; i < COUNT; i++) await exchange()

  const write = vi.spyOn(Socket.prototype, 'write')
  for (let i = 0; i < COUNT; i++) await exchange()
  const bytes = write.mock.calls.reduce((sum, [chunk]) => sum + (chunk as Uint8Array).byteLength, 0)
  expect(write).toHaveBeenCalledTimes(COUNT)
  expect(bytes / COUNT).toBeLessThanOrEqual(4 * WIDTH + 64)
  write.mockRestore()
  await Promise.all([sender.stop(), receiver.stop()])
})
