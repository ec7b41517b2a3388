/** Sends every frame back to the process that forked this one (see legs.ts). */
import { once } from 'node:events'
import { createHost, type DataSender } from '../src/net/index.ts'

const starting = once(process, 'message')
const host = createHost({ identity: { ephemeral: true }, listen: ['/ip4/127.0.0.1/tcp/0'] })
const [{ width, peer, addresses }] = (await starting) as [
  { width: number; peer: string; addresses: string[] }
]
let back: DataSender | undefined
host.serve({
  info: () => ({ version: '', stages: [], addresses: [], peers: [] }),
  control: (stream) => void stream.close(),
  data: async (ticket, stream) => {
    back = await host.openData(peer, addresses, ticket)
    stream.start({ width, maxRows: 1 }, { receive: (frame) => void back?.send(frame), end: () => {} })
    return { epoch: 0, length: 0, maxRows: 1 }
  }
})
await host.start()
process.once('disconnect', () => process.exit())
process.send?.({ peer: host.peerId, addresses: host.addresses })
