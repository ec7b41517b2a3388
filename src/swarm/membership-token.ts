/**
 * An invitation as people pass it on: `shoal1`, then base64url of JSON and its CRC-32. Whoever has it can connect to
 * the swarm, since the key is in it: it is a secret, as the grant's expiry does not make the key expire.
 */
import { crc32 } from 'node:zlib'
import { base64url } from 'multiformats/bases/base64'
import { z } from 'zod'
import { ShoalError } from '../common/index.ts'
import type { Sealed } from '../net/index.ts'
import { type Grant, lookAtGrant, peer } from './membership-papers.ts'

const PREFIX = 'shoal'
const VERSION = '1'
const CHECKSUM_BYTES = 4
/** Many times what one with a few addresses has. */
const MAX_CHARACTERS = 8_192

const isBytes = (value: unknown): boolean => value instanceof Uint8Array
const bytes = z.codec(z.base64url(), z.custom<Uint8Array>(isBytes), {
  decode: (text) => base64url.baseDecode(text),
  encode: (value) => base64url.baseEncode(value)
})
const fixed = (length: number) => bytes.refine((value) => value.byteLength === length)

/** Shown on terminals of people who did not choose it: no control characters. */
export const swarmName = z.string().regex(/^[^\p{C}]{1,64}$/u)

const schema = z.object({
  name: swarmName,
  /** The pre-shared key. */
  key: fixed(32),
  /** The peer id of the node that admits. */
  founder: peer,
  /** Where it is. */
  addresses: z
    .array(z.string().regex(/^[!-~]{1,512}$/))
    .min(1)
    .max(16),
  /** As it was signed. */
  grant: z.string(),
  /** The grant's. */
  signature: fixed(64)
})

export interface Token {
  /** Of the swarm, for people. */
  readonly name: string
  /** 32 bytes: the swarm's pre-shared key. */
  readonly key: Uint8Array
  /** The node that admits: its peer id. */
  readonly founder: string
  /** Where it is: 1 to 16 multiaddrs. */
  readonly addresses: readonly string[]
  /** To be shown to the founder. */
  readonly grant: Sealed
}

/** Thrown for a token that can't be used, with what to do in the message. */
export class TokenError extends ShoalError {
  constructor(message: string) {
    super('TOKEN', message)
  }
}

export function encodeToken({ name, key, founder, addresses, grant }: Token): string {
  const fields = { name, key, founder, addresses: [...addresses], signature: grant.signature }
  const text = new TextDecoder().decode(grant.payload)
  const json = Buffer.from(JSON.stringify(z.encode(schema, { ...fields, grant: text })))
  return `${PREFIX}${VERSION}${base64url.baseEncode(Buffer.concat([json, checksum(json)]))}`
}

/**
 * Spaces and line breaks, as mail programs add them, don't matter. Throws a TokenError: for anything that is not a
 * whole token, to the last character. What the grant says is not proven: only the founder's answer is.
 */
export function decodeToken(text: string): Token & { readonly says: Grant } {
  const compact = text.replaceAll(/\s/g, '')
  if (!compact.startsWith(PREFIX)) {
    throw new TokenError('This is no invitation: one begins with "shoal1". "shoal invite" makes them.')
  }
  if (!compact.startsWith(PREFIX + VERSION)) {
    throw new TokenError(
      'This invitation was made by another version of Shoal: update it, or ask for another.'
    )
  }
  const json = checked(compact.slice(PREFIX.length + VERSION.length))
  const token = json === undefined ? undefined : parse(json)
  const says = token === undefined ? undefined : lookAtGrant(token.grant)
  if (token === undefined || says === undefined) {
    throw new TokenError('This invitation is damaged, or a part of it is missing: copy it again, all of it.')
  }
  return { ...token, says }
}

/** CRC-32 finds whatever is wrong in one place, so every mistyped character. */
function checksum(json: Uint8Array): Uint8Array {
  const sum = Buffer.alloc(CHECKSUM_BYTES)
  sum.writeUInt32LE(crc32(json))
  return sum
}

function checked(text: string): Uint8Array | undefined {
  if (text.length > MAX_CHARACTERS) return undefined
  try {
    const whole = base64url.baseDecode(text)
    const json = whole.subarray(0, -CHECKSUM_BYTES)
    return Buffer.compare(whole.subarray(-CHECKSUM_BYTES), checksum(json)) === 0 ? json : undefined
  } catch {
    return undefined
  }
}

function parse(json: Uint8Array): Token | undefined {
  try {
    const { grant, signature, ...token } = z.decode(schema, JSON.parse(new TextDecoder().decode(json)))
    return { ...token, grant: { payload: new TextEncoder().encode(grant), signature } }
  } catch {
    return undefined
  }
}
