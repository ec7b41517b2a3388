/**
 * What a node that decides for itself what to host could host: an announcement's extension, so that all nodes can
 * work out the same arrangement. A node without it, or that is told by its owner what to host, is not counted on.
 */
import { fromHex, toHex } from 'multiformats/bytes'
import { DISK_UNIT, MEMORY_UNIT, type Room } from './placement-sizes.ts'

/** By model. */
export type Offer = ReadonlyMap<string, Room>

/** Its name among an announcement's extensions. */
export const OFFER = 'offer'

/** 32 bytes id, then three little-endian 32-bit numbers: memory in KiB, disk in MiB, positions. */
const ID_BYTES = 32
const ENTRY_BYTES = ID_BYTES + 12
/** As many as an extension's 1,024 bytes hold. */
const MOST_MODELS = 23
const MAX_UINT32 = 2 ** 32 - 1

/** What is too much for it is left out, in the map's order. */
export function encodeOffer(offer: Offer): Uint8Array {
  const entries = [...offer].slice(0, MOST_MODELS)
  const bytes = new Uint8Array(entries.length * ENTRY_BYTES)
  const view = new DataView(bytes.buffer)
  for (const [index, [model, room]] of entries.entries()) {
    const at = index * ENTRY_BYTES
    bytes.set(fromHex(model), at)
    view.setUint32(at + ID_BYTES, units(room.memoryBytes, MEMORY_UNIT), true)
    view.setUint32(at + ID_BYTES + 4, units(room.diskBytes, DISK_UNIT), true)
    view.setUint32(at + ID_BYTES + 8, units(room.positions, 1), true)
  }
  return bytes
}

/** From a peer: what is no offer is an empty one. */
export function decodeOffer(bytes: Uint8Array | undefined): Offer {
  const offer = new Map<string, Room>()
  if (bytes === undefined || bytes.length % ENTRY_BYTES !== 0) return offer
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  for (let at = 0; at < bytes.length; at += ENTRY_BYTES) {
    const disk = view.getUint32(at + ID_BYTES + 4, true)
    offer.set(toHex(bytes.subarray(at, at + ID_BYTES)), {
      memoryBytes: view.getUint32(at + ID_BYTES, true) * MEMORY_UNIT,
      diskBytes: disk === MAX_UINT32 ? Number.POSITIVE_INFINITY : disk * DISK_UNIT,
      positions: view.getUint32(at + ID_BYTES + 8, true)
    })
  }
  return offer
}

function units(amount: number, unit: number): number {
  return Math.max(0, Math.min(MAX_UINT32, Math.floor(amount / unit)))
}
