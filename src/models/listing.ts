/**
 * What people say about a manifest: a name, a licence, where its files are, which wire codecs were certified with it.
 * None of it is hashed into the model's id, so a listing is worth what its publisher's signature is worth.
 */
import { create, fromBinary, toBinary } from '@bufbuild/protobuf'
import { z } from 'zod'
import { ShoalError } from '../common/index.ts'
import { verify } from '../net/index.ts'
import { type Listing as ListingMessage, ListingSchema } from './manifest_pb.ts'
import { isHubName, parseHubName } from './names/hub-name.ts'
import { httpUrl } from './sources/http.ts'

/** 16 sources of a model of 100 parts. */
export const MAX_LISTING_BYTES = 512 * 1024
const MAX_SOURCES = 16
const MAX_PARTS = 1_000
const MAX_CODECS = 16
const SIGNATURE_BYTES = 64
/** Nothing that is signed for one purpose can be shown for another. */
const DOMAIN = new TextEncoder().encode('shoal listing\0')

/** One file: an http(s) address without credentials. Or, as the only part, a name on the hub. */
export interface ListedPart {
  readonly url: string
  readonly bytes: number
}

/** All files of a model at one place, in order. */
export interface ListedSource {
  readonly parts: readonly ListedPart[]
}

/** The importance matrix that a model was quantized with, for who quantizes it otherwise. */
export interface ListedImportance {
  /** Hex, of the file. */
  readonly sha256: string
  readonly bytes: number
  /** Where it can be had: http(s) addresses, or files on the hub. */
  readonly urls: readonly string[]
}

export interface ListingFields {
  /** The manifest's id. */
  readonly model: string
  readonly name: string
  /** SPDX, or the family's own; '' where nobody has said. */
  readonly licence: string
  readonly sources: readonly ListedSource[]
  /** Wire codecs that were certified with the model. */
  readonly codecs: readonly string[]
  readonly importance?: ListedImportance | undefined
}

export interface Listing extends ListingFields {
  /** The node that has signed it. Undefined: anybody may have written it. */
  readonly publisher: string | undefined
}

/** A node's key. */
export interface Signer {
  readonly peerId: string
  sign(bytes: Uint8Array): Promise<Uint8Array>
}

const line = (most: number) =>
  z
    .string()
    .max(most)
    .regex(/^\P{C}*$/u, 'has characters that cannot be shown')
const address = line(2_048).refine(isAddress, 'is no address of a file, or has a password in it')
const size = z.union([z.bigint().transform(Number), z.number()]).pipe(z.int().min(0))
const part = z.object({ url: address, bytes: size })
const source = z
  .object({ parts: z.array(part).min(1).max(MAX_PARTS) })
  .refine(({ parts }) => parts.length === 1 || !parts.some(({ url }) => isHubName(url)), {
    message: 'has a name on the hub among others'
  })
const fields = z.object({
  model: z.string().regex(/^[0-9a-f]{64}$/, 'is no id of a model'),
  name: line(256).min(1),
  licence: line(64),
  sources: z.array(source).max(MAX_SOURCES),
  codecs: z.array(line(64).min(1)).max(MAX_CODECS),
  importance: z
    .object({
      sha256: z.string().regex(/^[0-9a-f]{64}$/, 'is no hash'),
      bytes: size,
      urls: z.array(address).max(MAX_SOURCES)
    })
    .optional()
}) satisfies z.ZodType<ListingFields>

/** Throws a ShoalError LISTING for fields that no reader would accept. Without a signer it is nobody's. */
export async function makeListing(listing: ListingFields, signer?: Signer): Promise<Uint8Array> {
  const { model, sources, codecs, importance, ...rest } = check(listing)
  const message = create(ListingSchema, {
    ...{ ...rest, codecs: [...codecs], model: Buffer.from(model, 'hex') },
    publisher: signer?.peerId ?? '',
    sources: sources.map(({ parts }) => ({
      parts: parts.map(({ url, bytes }) => ({ url, bytes: BigInt(bytes) }))
    })),
    importance: importance && {
      sha256: Buffer.from(importance.sha256, 'hex'),
      bytes: BigInt(importance.bytes),
      urls: [...importance.urls]
    }
  })
  if (signer !== undefined) message.signature = await signer.sign(signable(message))
  const bytes = toBinary(ListingSchema, message)
  if (bytes.byteLength > MAX_LISTING_BYTES) throw refusal(`it has ${bytes.byteLength} bytes`)
  return bytes
}

/** Throws a ShoalError LISTING for bytes that are none, SIGNATURE where it is not by whom it says it is by. */
export async function readListing(bytes: Uint8Array): Promise<Listing> {
  if (bytes.byteLength > MAX_LISTING_BYTES) throw refusal(`it has ${bytes.byteLength} bytes`)
  let message: ListingMessage
  try {
    message = fromBinary(ListingSchema, bytes)
  } catch (cause) {
    throw refusal('it is not written as listings are', cause)
  }
  const { publisher, signature, importance } = message
  const listing = check({
    ...message,
    model: hex(message.model),
    importance: importance && { ...importance, sha256: hex(importance.sha256) }
  })
  if (publisher === '' && signature.byteLength === 0) return { ...listing, publisher: undefined }
  const isSigned =
    publisher.length <= 128 &&
    signature.byteLength === SIGNATURE_BYTES &&
    (await verify(publisher, signable(message), signature))
  if (isSigned) return { ...listing, publisher }
  const who = publisher.slice(0, 128) || 'whom it does not name'
  throw new ShoalError('SIGNATURE', `This listing of a model was not signed by ${who}: do not use it.`)
}

/** What newer nodes may have said beside this is part of it, too. */
function signable(message: ListingMessage): Uint8Array {
  const unsigned = toBinary(ListingSchema, { ...message, signature: new Uint8Array(0) })
  return Buffer.concat([DOMAIN, unsigned])
}

function check(value: unknown): ListingFields {
  const parsed = fields.safeParse(value)
  if (parsed.success) return parsed.data
  const [issue] = parsed.error.issues
  throw refusal(`${issue?.path.join('.')} ${issue?.message}`)
}

function hex(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString('hex')
}

function isAddress(url: string): boolean {
  try {
    if (isHubName(url)) parseHubName(url)
    else httpUrl(url)
    return isHubName(url) || !/\s/.test(url)
  } catch {
    return false
  }
}

function refusal(why: string, cause?: unknown): ShoalError {
  return new ShoalError('LISTING', `This is no listing of a model: ${why}.`, { cause })
}
