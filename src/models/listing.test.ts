import { create, fromBinary, toBinary } from '@bufbuild/protobuf'
import { generateKeyPair } from '@libp2p/crypto/keys'
import { peerIdFromPrivateKey } from '@libp2p/peer-id'
import fc from 'fast-check'
import { beforeAll, describe, expect, test } from 'vitest'
import { ShoalError } from '../common/index.ts'
import { type ListingFields, MAX_LISTING_BYTES, makeListing, readListing, type Signer } from './listing.ts'
import { ListingSchema } from './manifest_pb.ts'

const MATRIX = { sha256: 'cd'.repeat(32), bytes: 4_000_000, urls: ['https://example.org/imatrix.gguf'] }
const FIELDS = {
  model: 'ab'.repeat(32),
  name: 'Tiny 1B',
  licence: 'Apache-2.0',
  sources: [
    { parts: [{ url: 'hf:user/repo:Q4_K_M@0123abc', bytes: 5_000_000_000 }] },
    {
      parts: [
        { url: 'https://example.org/1.gguf', bytes: 1 },
        { url: 'https://example.org/2.gguf', bytes: 2 }
      ]
    }
  ],
  codecs: ['f32', 'f16'],
  importance: MATRIX
} satisfies ListingFields
let signer: Signer
let other: Signer

async function newSigner(): Promise<Signer> {
  const key = await generateKeyPair('Ed25519')
  return { peerId: peerIdFromPrivateKey(key).toString(), sign: async (bytes) => key.sign(bytes) }
}

beforeAll(async () => {
  signer = await newSigner()
  other = await newSigner()
})

describe('a listing', () => {
  test('is read as it was signed', async () => {
    expect(await readListing(await makeListing(FIELDS, signer))).toEqual({
      ...FIELDS,
      publisher: signer.peerId
    })
  })

  test('may be nobody’s, and says so', async () => {
    expect(await readListing(await makeListing(FIELDS))).toEqual({ ...FIELDS, publisher: undefined })
  })

  test('of another is not believed', async () => {
    const forged = await makeListing(FIELDS, { ...other, peerId: signer.peerId })
    await expect(readListing(forged)).rejects.toMatchObject({ code: 'SIGNATURE' })
    const message = fromBinary(ListingSchema, await makeListing(FIELDS, signer))
    const bare = toBinary(ListingSchema, { ...message, signature: new Uint8Array(0) })
    await expect(readListing(bare)).rejects.toMatchObject({ code: 'SIGNATURE' })
    const nameless = toBinary(ListingSchema, { ...message, publisher: '' })
    await expect(readListing(nameless)).rejects.toMatchObject({ code: 'SIGNATURE' })
  })

  test('stays signed where a newer node has said more', async () => {
    const message = fromBinary(ListingSchema, await makeListing(FIELDS))
    message.publisher = signer.peerId
    message.$unknown = [{ no: 99, wireType: 0, data: Uint8Array.of(7) }]
    const domain = new TextEncoder().encode('shoal listing\0')
    message.signature = await signer.sign(Buffer.concat([domain, toBinary(ListingSchema, message)]))
    const newer = toBinary(ListingSchema, message)
    expect((await readListing(newer)).publisher).toBe(signer.peerId)
    message.$unknown[0] = { no: 99, wireType: 0, data: Uint8Array.of(8) }
    await expect(readListing(toBinary(ListingSchema, message))).rejects.toMatchObject({ code: 'SIGNATURE' })
  })

  test('changed anywhere says the same, or is refused', async () => {
    const bytes = await makeListing(FIELDS, signer)
    const property = fc.asyncProperty(
      fc.nat(bytes.byteLength - 1),
      fc.integer({ min: 1, max: 255 }),
      async (at, change) => {
        const changed = bytes.slice()
        changed[at] = (changed[at] as number) ^ change
        // Some bits have no meaning; others make it nobody's.
        const read = await readListing(changed).catch((error: unknown) => error)
        const isNobodys = (read as { publisher?: string }).publisher === undefined
        if (!(read instanceof ShoalError || isNobodys)) {
          expect(read).toEqual({ ...FIELDS, publisher: signer.peerId })
        }
      }
    )
    await fc.assert(property, { seed: 21, numRuns: 500 })
  })

  test.each<[string, Partial<ListingFields>]>([
    ['without a model', { model: '' }],
    ['without a name', { name: '' }],
    ['with a name that moves the cursor', { name: 'x\u001b[2J' }],
    ['with a name that turns the line round', { name: 'x\u202etxt' }],
    ['with a long licence', { licence: 'x'.repeat(65) }],
    ['with an empty source', { sources: [{ parts: [] }] }],
    ['with a source of another scheme', { sources: [{ parts: [{ url: 'file:///etc/passwd', bytes: 1 }] }] }],
    ['with credentials', { sources: [{ parts: [{ url: 'https://me:secret@example.org/x', bytes: 1 }] }] }],
    ['with a line in an address', { sources: [{ parts: [{ url: '\nhttps://example.org/x', bytes: 1 }] }] }],
    ['with a wrong name on the hub', { sources: [{ parts: [{ url: 'hf:../x', bytes: 1 }] }] }],
    [
      'with a name on the hub among parts',
      {
        sources: [
          {
            parts: [
              { url: 'hf:a/b', bytes: 1 },
              { url: 'https://example.org/x', bytes: 1 }
            ]
          }
        ]
      }
    ],
    ['with too many sources', { sources: Array(17).fill(FIELDS.sources[0]) }],
    ['with bytes that no number holds', { sources: [{ parts: [{ url: 'hf:a/b', bytes: 2 ** 60 }] }] }],
    ['with too many codecs', { codecs: Array(17).fill('f32') }],
    ['with a matrix at a wrong address', { importance: { ...MATRIX, urls: ['file:///etc/passwd'] } }]
  ])('%s is refused, to write and to read', async (_, change) => {
    const listing = { ...FIELDS, ...change }
    await expect(makeListing(listing)).rejects.toMatchObject({ code: 'LISTING' })
    const { importance } = listing
    const message = create(ListingSchema, {
      ...{ ...listing, codecs: [...listing.codecs], model: Buffer.from(listing.model, 'hex') },
      importance: {
        sha256: Buffer.from(importance.sha256, 'hex'),
        bytes: BigInt(importance.bytes),
        urls: [...importance.urls]
      },
      sources: listing.sources.map(({ parts }) => ({
        parts: parts.map(({ url, bytes }) => ({ url, bytes: BigInt(bytes) }))
      }))
    })
    await expect(readListing(toBinary(ListingSchema, message))).rejects.toMatchObject({ code: 'LISTING' })
  })

  test('that is none is refused, whatever it is', async () => {
    const property = fc.asyncProperty(fc.uint8Array({ maxLength: 200 }), async (bytes) => {
      await expect(readListing(bytes)).rejects.toBeInstanceOf(ShoalError)
    })
    await fc.assert(property, { seed: 22, numRuns: 300 })
    await expect(readListing(new Uint8Array(MAX_LISTING_BYTES + 1))).rejects.toMatchObject({
      code: 'LISTING'
    })
  })
})
