/** Peers that a node has been connected to, for the next start. */
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { z } from 'zod'
import { replaceFile } from '../common/index.ts'
import type { PeerAddress } from '../net/index.ts'

/** Some of them will be up again. */
const MAX_PEERS = 64
const MAX_ADDRESSES = 16
/** Peers say where they are: what is longer would have the whole file taken for damaged. */
const MAX_ADDRESS = 512

const schema = z
  .array(
    z.object({
      peer: z.string().min(1).max(128),
      addresses: z.array(z.string().max(MAX_ADDRESS)).min(1).max(MAX_ADDRESSES)
    })
  )
  .max(MAX_PEERS)

/** The latest first. A file that is missing or damaged is no reason not to start. */
export async function rememberedPeers(folder: string): Promise<PeerAddress[]> {
  try {
    return schema.parse(JSON.parse(await readFile(join(folder, 'peers.json'), 'utf8')))
  } catch {
    return []
  }
}

/** `peers` first, then those that were remembered before, as many as there is room for. */
export async function rememberPeers(folder: string, peers: readonly PeerAddress[]): Promise<void> {
  const before = await rememberedPeers(folder)
  const byPeer = new Map<string, PeerAddress>()
  for (const { peer, addresses: all } of [...peers, ...before]) {
    const addresses = all.filter(({ length }) => length <= MAX_ADDRESS).slice(0, MAX_ADDRESSES)
    if (addresses.length > 0 && !byPeer.has(peer) && byPeer.size < MAX_PEERS)
      byPeer.set(peer, { peer, addresses })
  }
  const path = join(folder, 'peers.json')
  await replaceFile(path, JSON.stringify([...byPeer.values()]))
}
