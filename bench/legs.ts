/** The parts of a hop, each measured alone: the process leg, and the wire leg over libp2p. */
import { fork } from 'node:child_process'
import { once } from 'node:events'
import { Socket } from 'node:net'
import { join } from 'node:path'
import { LlamaEngine } from '../src/engine/index.ts'
import { openModel, writeSpan } from '../src/models/index.ts'
import { bytesPerRow, createHost, type Frame, type RowCodec } from '../src/net/index.ts'
import { median } from './bench.ts'

const ROUNDS = 300
const WARM_UP = 50

/**
 * Milliseconds that one row of hidden states spends on its way into an engine's process and back, computing not
 * counted: one block of the model in an engine of its own.
 */
export async function measureProcessLeg(path: string, folder: string): Promise<number> {
  const model = await openModel(path)
  const span = await writeSpan(model, { start: 1, end: 2 }, folder)
  await model.close()
  const engine = new LlamaEngine({ ...span, context: 512, sequences: 1, threads: 1, gpuLayers: 0 })
  await engine.start()
  try {
    const hidden = new Float32Array(engine.description.width).fill(0.01)
    const legs: number[] = []
    for (let position = 0; position < ROUNDS; position++) {
      const start = performance.now()
      const tokens = Int32Array.of(1)
      const { computeMs } = await engine.run([{ sequence: 0, position, tokens, hidden, output: 'hidden' }])
      if (position >= WARM_UP) legs.push(performance.now() - start - computeMs)
    }
    return median(legs)
  } finally {
    await engine.stop()
  }
}

/**
 * What a frame of one row takes to another process: milliseconds (half of its way there and back), and bytes that
 * the socket was given for it, encrypted and multiplexed.
 */
export async function measureWireLeg(
  width: number,
  codec: RowCodec = 'f32'
): Promise<{ ms: number; bytes: number }> {
  const host = createHost({ identity: { ephemeral: true }, listen: ['/ip4/127.0.0.1/tcp/0'] })
  const echo = fork(join(import.meta.dirname, 'echo.ts'))
  try {
    let back: (() => void) | undefined
    host.serve({
      info: () => ({ version: '', stages: [], addresses: [], peers: [] }),
      control: (stream) => void stream.close(),
      data: (_ticket, stream) => {
        stream.start({ width, maxRows: 1 }, { receive: () => back?.(), end: () => {} })
        return { epoch: 0, length: 0, maxRows: 1 }
      }
    })
    await host.start()
    const ready = once(echo, 'message')
    echo.send({ width, peer: host.peerId, addresses: host.addresses })
    const [{ peer, addresses }] = (await ready) as [{ peer: string; addresses: string[] }]
    const data = await host.openData(peer, addresses, new Uint8Array(16))
    const legs: number[] = []
    const sizes: number[] = []
    const write = Socket.prototype.write as (chunk: Uint8Array) => boolean
    Socket.prototype.write = function (this: Socket, chunk: Uint8Array): boolean {
      sizes.push(chunk.byteLength)
      return write.call(this, chunk)
    }
    for (let position = 0; position < ROUNDS; position++) {
      const payload = new Uint8Array(bytesPerRow(codec, width))
      const tokens = Int32Array.of(1)
      const frame: Frame = { epoch: 0, follows: 0, position, tokens, sample: 'last', codec, payload }
      const start = performance.now()
      const returned = new Promise<void>((resolve) => {
        back = resolve
      })
      void data.send(frame)
      await returned
      if (position >= WARM_UP) legs.push((performance.now() - start) / 2)
    }
    Socket.prototype.write = write as Socket['write']
    return { ms: median(legs), bytes: median(sizes) }
  } finally {
    echo.kill()
    await host.stop()
  }
}
