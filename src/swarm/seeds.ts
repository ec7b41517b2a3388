/** Models that a node has pieces of and gives them to whoever asks: an announcement's extension. */
import { fromHex, toHex } from 'multiformats/bytes'

/** Its name among an announcement's extensions. */
export const SEEDS = 'seeds'

const ID_BYTES = 32
/** As many as an extension's 1,024 bytes hold. */
export const MOST_SEEDS = 32

/** What is too much for it is left out. */
export function encodeSeeds(models: readonly string[]): Uint8Array {
  const ids = models.slice(0, MOST_SEEDS)
  const bytes = new Uint8Array(ids.length * ID_BYTES)
  for (const [index, model] of ids.entries()) bytes.set(fromHex(model), index * ID_BYTES)
  return bytes
}

/** From a peer: what is no list of models is an empty one. */
export function decodeSeeds(bytes: Uint8Array | undefined): Set<string> {
  const models = new Set<string>()
  if (bytes === undefined || bytes.length % ID_BYTES !== 0) return models
  for (let at = 0; at < bytes.length; at += ID_BYTES) models.add(toHex(bytes.subarray(at, at + ID_BYTES)))
  return models
}
