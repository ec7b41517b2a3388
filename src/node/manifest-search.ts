/** Manifests and listings of models that somebody knows only the id of. */
import { type Clock, ShoalError } from '../common/index.ts'
import { type Exchange, type Manifest, readListing } from '../models/index.ts'
import type { PeerAddress } from '../net/index.ts'
import { pause } from './pause.ts'

/** Asked for a manifest before it is given up. */
const SEARCH_MS = 60_000
const LOOK_MS = 500
/** Of one peer. */
const ASK_MS = 10_000

export interface SearchComponents {
  readonly exchange: Pick<Exchange, 'fetchManifest' | 'fetchListing'>
  readonly clock: Clock
  readonly suppliers: (id: string) => readonly PeerAddress[]
  /** Nobody is connected, and everybody who could be was looked for. */
  readonly isAlone: () => boolean
}

export interface FoundManifest {
  readonly manifest: Manifest
  /** What the peer who gave it says of it, or what others have said and signed. */
  readonly listing: Uint8Array | undefined
}

/** Throws a ShoalError UNAVAILABLE where nobody has it, at once where nobody can be asked. */
export async function searchManifest(
  { exchange, clock, suppliers, isAlone }: SearchComponents,
  id: string,
  signal: AbortSignal | undefined
): Promise<FoundManifest> {
  const deadline = clock.now() + SEARCH_MS
  const asked = new Set<string>()
  for (;;) {
    for (const { peer, addresses } of suppliers(id)) {
      if (asked.has(peer)) continue
      asked.add(peer)
      const limit = AbortSignal.timeout(ASK_MS)
      const either = signal === undefined ? limit : AbortSignal.any([signal, limit])
      const way: Parameters<Exchange['fetchManifest']> = [peer, [...addresses], id, either]
      const manifest = await exchange.fetchManifest(...way).catch(() => undefined)
      signal?.throwIfAborted()
      if (manifest === undefined) continue
      const listing = await exchange.fetchListing(...way).catch(() => undefined)
      signal?.throwIfAborted()
      return { manifest, listing: await checked(listing, id) }
    }
    if (isAlone()) throw unavailable(id, 'no other node answers: name one with --peer ADDRESS')
    if (clock.now() > deadline) {
      const peers =
        asked.size === 1 ? 'the one peer that may have it' : `the ${asked.size} peers that may have it`
      const tried = asked.size === 0 ? 'nobody who has it was found' : `${peers} did not give it`
      throw unavailable(id, `${tried}: check the id, or try again later`)
    }
    await pause(clock, LOOK_MS, signal)
  }
}

/** Only what is about this model, and by whom it says it is by. */
async function checked(bytes: Uint8Array | undefined, id: string): Promise<Uint8Array | undefined> {
  const listing = bytes === undefined ? undefined : await readListing(bytes).catch(() => undefined)
  return listing?.model === id ? bytes : undefined
}

function unavailable(id: string, why: string): ShoalError {
  return new ShoalError('UNAVAILABLE', `The model ${id.slice(0, 12)} is not here, and ${why}.`)
}
