/**
 * The other process of pieces.bench.ts: has a model on disk, gives it to whoever asks, and writes the same bytes on a
 * plain libp2p stream.
 */
import { once } from 'node:events'
import { exchangeNode } from '../src/models/exchange/testing.ts'
import { Store } from '../src/models/store/index.ts'
import { loadIdentity } from '../src/net/identity.ts'
import { startLibp2p } from '../src/net/libp2p.ts'
import { PLAIN_PROTOCOL } from './pieces-protocol.ts'

const starting = once(process, 'message')
const [{ folder, id, sizes }] = (await starting) as [{ folder: string; id: string; sizes: number[] }]
const store = await Store.open({ folder })
const model = await store.get(id)
const { host } = await exchangeNode(() => model)
const plain = await startLibp2p(loadIdentity({ ephemeral: true }), ['/ip4/127.0.0.1/tcp/0'], () => true)
await plain.handle(PLAIN_PROTOCOL, async (stream) => {
  const bytes = new Uint8Array(Math.max(...sizes)).fill(7)
  for (const size of sizes) {
    if (!stream.send(bytes.subarray(0, size))) await once(stream as unknown as EventTarget, 'drain')
  }
  await stream.close()
})
process.once('disconnect', () => process.exit())
const plainAddress = plain.getMultiaddrs()[0]?.toString()
process.send?.({ peer: host.peerId, addresses: host.addresses, plainAddress })
