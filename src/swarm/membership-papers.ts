/**
 * What a private swarm signs. Its founder gives out grants, one per invitation; a newcomer shows its grant, and gets
 * a certificate, which everybody can check with the founder's peer id. A member may in turn certify processes of its
 * own that have other keys (deputies), such as a consumer that comes and goes beside its node.
 */
import { createHash, createPublicKey, verify } from 'node:crypto'
import { peerIdFromString } from '@libp2p/peer-id'
import { base64url } from 'multiformats/bases/base64'
import { z } from 'zod'
import type { Sealed } from '../net/index.ts'

export const ROLES = ['consumer', 'provider', 'seeder', 'planner'] as const
/** What a member may do: ask for answers, compute for others, give out pieces, tell others what to host. */
export type Role = (typeof ROLES)[number]

const SIGNATURE_BYTES = 64
/** As Ed25519 peer ids are written. */
export const peer = z.string().regex(/^12D3KooW[1-9A-HJ-NP-Za-km-z]{44}$/)
/** Milliseconds since 1970. */
const time = z.int().min(0)
/** Those of newer versions are nothing that anybody could be asked for here. */
const roles = z
  .array(z.string().max(64))
  .max(64)
  .transform((words) => ROLES.filter((role) => words.includes(role)))

const grant = z.object({
  id: z.string().min(16).max(64),
  roles,
  expires: time,
  /** How many newcomers may come with it. */
  uses: z.int().min(1)
})

const certificate = z.object({
  peer,
  roles,
  issued: time,
  /** Deputies only. */
  expires: time.optional(),
  /** Deputies only: the certificate of the member that signed this one, in base64url. */
  by: z.string().max(1_024).optional()
})

export type Grant = z.infer<typeof grant>
type Certificate = z.infer<typeof certificate>
type Sign = (bytes: Uint8Array) => Promise<Uint8Array>

/** A certificate that holds. */
export interface Certified {
  /** Whose it is. */
  readonly peer: string
  /** The member that stands behind it: another one than `peer` for a deputy. */
  readonly member: string
  readonly roles: readonly Role[]
  readonly issued: number
  /** Milliseconds since 1970; infinite for members. */
  readonly expires: number
}

/** What papers are good for. */
export interface SwarmName {
  /** See {@link swarmId}. */
  readonly id: string
  /** Peer id. */
  readonly founder: string
}

/** Names a swarm without giving its key away; a founder may have had swarms before this one. */
export function swarmId(key: Uint8Array): string {
  return createHash('sha256').update('shoal swarm').update(key).digest('hex').slice(0, 32)
}

export function signGrant(value: Grant, swarm: string, sign: Sign): Promise<Sealed> {
  return seal('grant', swarm, value, sign)
}

/** Undefined for what the founder has not signed for this swarm. */
export function readGrant(sealed: Sealed, { id, founder }: SwarmName): Grant | undefined {
  return isSigned('grant', id, sealed, founder) ? parse(grant, sealed.payload) : undefined
}

/** What `sealed` says, whoever signed it. */
export function lookAtGrant({ payload }: Sealed): Grant | undefined {
  return parse(grant, payload)
}

export interface Issue {
  readonly peer: string
  readonly roles: readonly Role[]
  /** Milliseconds since 1970. */
  readonly issued: number
  /** For a deputy: the certificate of the member that signs, and until when the deputy may act. */
  readonly deputy?: { readonly of: Uint8Array; readonly expires: number } | undefined
}

/** At most 1,024 bytes, to go with announcements. */
export async function issueCertificate(
  { deputy, ...value }: Issue,
  swarm: string,
  sign: Sign
): Promise<Uint8Array> {
  const rest = deputy && { expires: deputy.expires, by: base64url.baseEncode(deputy.of) }
  const { payload, signature } = await seal('certificate', swarm, { ...value, ...rest }, sign)
  return Buffer.concat([signature, payload])
}

/** Undefined for a certificate that is not of this swarm, or that neither its founder nor a member has signed. */
export function checkCertificate(bytes: Uint8Array, swarm: SwarmName): Certified | undefined {
  const sealed = { signature: bytes.subarray(0, SIGNATURE_BYTES), payload: bytes.subarray(SIGNATURE_BYTES) }
  const said = parse(certificate, sealed.payload)
  if (said === undefined) return undefined
  if (said.by !== undefined) return checkDeputy(said, sealed, swarm)
  if (!isSigned('certificate', swarm.id, sealed, swarm.founder)) return undefined
  const { peer, roles, issued, expires = Number.POSITIVE_INFINITY } = said
  return { peer, member: peer, roles, issued, expires }
}

function checkDeputy(
  { by = '', peer, roles, issued, expires }: Certificate,
  sealed: Sealed,
  swarm: SwarmName
): Certified | undefined {
  const member = checkCertificate(decoded(by), swarm)
  if (member === undefined || member.peer !== member.member || expires === undefined) return undefined
  if (!isSigned('certificate', swarm.id, sealed, member.peer)) return undefined
  return {
    ...{ peer, member: member.peer, issued, expires: Math.min(expires, member.expires) },
    roles: roles.filter((role) => member.roles.includes(role))
  }
}

function decoded(text: string): Uint8Array {
  try {
    return base64url.baseDecode(text)
  } catch {
    return new Uint8Array()
  }
}

type Kind = 'grant' | 'certificate'

async function seal(kind: Kind, swarm: string, value: object, sign: Sign): Promise<Sealed> {
  const payload = new TextEncoder().encode(JSON.stringify(value))
  return { payload, signature: await sign(signed(kind, swarm, payload)) }
}

/** At once, unlike net's `verify`: announcements are judged as they come. */
function isSigned(kind: Kind, swarm: string, { payload, signature }: Sealed, by: string): boolean {
  try {
    const { publicKey } = peerIdFromString(by)
    if (publicKey?.type !== 'Ed25519') return false
    const x = Buffer.from(publicKey.raw).toString('base64url')
    const key = createPublicKey({ format: 'jwk', key: { kty: 'OKP', crv: 'Ed25519', x } })
    return verify(null, signed(kind, swarm, payload), key, signature)
  } catch {
    return false
  }
}

/** One key signs several kinds of things, for one swarm after another: none may be taken for another. */
function signed(kind: Kind, swarm: string, payload: Uint8Array): Uint8Array {
  return Buffer.concat([Buffer.from(`shoal ${kind} ${swarm}\0`), payload])
}

function parse<T>(schema: z.ZodType<T>, payload: Uint8Array): T | undefined {
  try {
    return schema.parse(JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(payload)))
  } catch {
    return undefined
  }
}
