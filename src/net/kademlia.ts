// Kademlia: who hosts blocks of a model, for nodes that know none of them yet.
import type { AbortOptions } from '@libp2p/interface'
import type { KadDHT, KadDHTComponents } from '@libp2p/kad-dht'
import { CID } from 'multiformats/cid'
import * as raw from 'multiformats/codecs/raw'
import { create as createDigest } from 'multiformats/hashes/digest'
import { MAX_ADDRESSES } from './wire/limits.ts'
import type { PeerAddress } from './wire/types.ts'

const PROTOCOL = '/shoal/kad/1'
const SHA2_256 = 0x12
/** Of providers, from all peers: some 20 MB. The oldest are forgotten beyond it. */
const MAX_RECORDS = 50_000

/** Nodes that listen answer others; the rest only ask. */
export async function kademlia(
  listens: boolean,
  mayDial: (address: string) => boolean
): Promise<(components: KadDHTComponents) => KadDHT> {
  const { kadDHT } = await import('@libp2p/kad-dht')
  const service = kadDHT({
    protocol: PROTOCOL,
    clientMode: !listens,
    // Addresses that this node would not dial are of no use to it, and not passed on.
    peerInfoMapper: (peer) => ({
      ...peer,
      multiaddrs: peer.multiaddrs.filter((address) => mayDial(address.toString())).slice(0, MAX_ADDRESSES)
    }),
    allowQueryWithZeroPeers: true // ends at once where it could only wait
  })
  return (components) =>
    service(Object.create(components, { datastore: { value: bounded(components.datastore) } }))
}

type Datastore = KadDHTComponents['datastore']

/** Any peer may store any number of records, and js-libp2p keeps them in memory for two days. */
export function bounded(datastore: Datastore, most = MAX_RECORDS): Datastore {
  const keys = new Map<string, Parameters<Datastore['put']>[0]>()
  const remove: Datastore['delete'] = (key, options) => {
    keys.delete(key.toString())
    return datastore.delete(key, options)
  }
  const put: Datastore['put'] = async (key, value, options) => {
    keys.delete(key.toString())
    keys.set(key.toString(), key)
    const oldest = keys.size > most ? keys.values().next().value : undefined
    if (oldest !== undefined) await remove(oldest)
    return datastore.put(key, value, options)
  }
  return Object.assign(Object.create(datastore), { put, delete: remove })
}

function contentId(model: string): CID {
  return CID.createV1(raw.code, createDigest(SHA2_256, Buffer.from(model, 'hex')))
}

export async function provide(dht: KadDHT, model: string, options: AbortOptions): Promise<void> {
  try {
    for await (const _ of dht.provide(contentId(model), options));
  } catch (error) {
    if (!options.signal?.aborted) throw error
  }
}

export async function* findProviders(
  dht: KadDHT,
  model: string,
  options: AbortOptions
): AsyncGenerator<PeerAddress> {
  try {
    for await (const event of dht.findProviders(contentId(model), options)) {
      if (event.name !== 'PROVIDER') continue
      for (const { id, multiaddrs } of event.providers) {
        yield { peer: id.toString(), addresses: multiaddrs.slice(0, MAX_ADDRESSES).map(String) }
      }
    }
  } catch (error) {
    if (!options.signal?.aborted) throw error
  }
}
