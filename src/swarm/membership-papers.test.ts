import fc from 'fast-check'
import { beforeAll, describe, expect, test } from 'vitest'
import { createHost, type Host, type Sealed } from '../net/index.ts'
import {
  checkCertificate,
  issueCertificate,
  ROLES,
  type Role,
  readGrant,
  signGrant,
  swarmId
} from './membership-papers.ts'

const SEED = 7
const KEY = new Uint8Array(32).fill(1)
const SWARM = swarmId(KEY)
const OTHER_SWARM = swarmId(new Uint8Array(32).fill(2))
const NOW = 1_790_000_000_000
const GRANT = {
  ...{ id: 'a'.repeat(22), roles: ['consumer', 'provider'] as Role[], expires: NOW, uses: 1 }
}

let founder: Host
let member: Host
let other: Host

beforeAll(() => {
  const host = (): Host => createHost({ identity: { ephemeral: true }, listen: [] })
  ;[founder, member, other] = [host(), host(), host()]
})

const by = (host: Host) => (bytes: Uint8Array) => host.sign(bytes)
const check = (bytes: Uint8Array, swarm = SWARM, who = founder) =>
  checkCertificate(bytes, { id: swarm, founder: who.peerId })

function certificateOf(host: Host, roles: readonly Role[] = ROLES): Promise<Uint8Array> {
  return issueCertificate({ peer: host.peerId, roles, issued: NOW }, SWARM, by(founder))
}

async function deputyOf(
  of: Uint8Array,
  signer: Host,
  roles: readonly Role[] = ['consumer']
): Promise<Uint8Array> {
  const issue = { peer: other.peerId, roles, issued: NOW, deputy: { of, expires: NOW + 1 } }
  return issueCertificate(issue, SWARM, by(signer))
}

const read = (sealed: Sealed, swarm = SWARM) => readGrant(sealed, { id: swarm, founder: founder.peerId })

describe('a grant', () => {
  test('says what the founder signed', async () => {
    expect(read(await signGrant(GRANT, SWARM, by(founder)))).toEqual(GRANT)
  })

  test('is nothing when somebody else signed it, or for another swarm', async () => {
    expect(read(await signGrant(GRANT, SWARM, by(other)))).toBeUndefined()
    expect(read(await signGrant(GRANT, SWARM, by(founder)), OTHER_SWARM)).toBeUndefined()
  })

  test('is nothing when a byte of it is another', async () => {
    const { payload, signature } = await signGrant(GRANT, SWARM, by(founder))
    const all = fc.property(
      fc.nat(payload.length + signature.length - 1),
      fc.integer({ min: 1, max: 255 }),
      (at, mask) => {
        const copies = { payload: payload.slice(), signature: signature.slice() }
        if (at < payload.length) copies.payload[at]! ^= mask
        else copies.signature[at - payload.length]! ^= mask
        expect(read(copies)).toBeUndefined()
      }
    )
    fc.assert(all, { seed: SEED, numRuns: 300 })
  })

  test('is no certificate, although the same key signs both', async () => {
    const both = { ...GRANT, peer: member.peerId, issued: NOW }
    const { payload, signature } = await signGrant(both, SWARM, by(founder))
    expect(check(Buffer.concat([signature, payload]))).toBeUndefined()
  })
})

describe('a certificate', () => {
  test('says who may do what, without end', async () => {
    expect(check(await certificateOf(member, ['consumer']))).toEqual({
      ...{ peer: member.peerId, member: member.peerId, roles: ['consumer'], issued: NOW },
      expires: Number.POSITIVE_INFINITY
    })
  })

  test('is nothing in another swarm, or of the same founder after a new key', async () => {
    expect(check(await certificateOf(member), SWARM, other)).toBeUndefined()
    expect(check(await certificateOf(member), OTHER_SWARM)).toBeUndefined()
  })

  test('is nothing when a byte of it is another, or is missing', async () => {
    const bytes = new Uint8Array(await certificateOf(member))
    const all = fc.property(fc.nat(bytes.length - 1), fc.integer({ min: 1, max: 255 }), (at, mask) => {
      const copy = bytes.slice()
      copy[at]! ^= mask
      expect(check(copy)).toBeUndefined()
      expect(check(bytes.slice(0, at))).toBeUndefined()
    })
    fc.assert(all, { seed: SEED, numRuns: 300 })
  })

  test('may have roles of newer versions, which are nobody here', async () => {
    const roles = ['consumer', 'juggler'] as Role[]
    expect(check(await certificateOf(member, roles))?.roles).toEqual(['consumer'])
  })
})

describe("a deputy's certificate", () => {
  test('fits an announcement, and gives what its member may do, no more', async () => {
    const bytes = await deputyOf(await certificateOf(member, ['consumer', 'seeder']), member, ROLES)
    expect(bytes.byteLength).toBeLessThanOrEqual(1_024)
    expect(check(bytes)).toEqual({
      ...{ peer: other.peerId, member: member.peerId, roles: ['consumer', 'seeder'] },
      ...{ issued: NOW, expires: NOW + 1 }
    })
  })

  test('is nothing when another than the member signed it', async () => {
    expect(check(await deputyOf(await certificateOf(member), other))).toBeUndefined()
  })

  test('is nothing from a deputy, or from nobody', async () => {
    const deputy = await deputyOf(await certificateOf(member), member)
    expect(check(await deputyOf(deputy, other))).toBeUndefined()
    expect(check(await deputyOf(new Uint8Array(70), member))).toBeUndefined()
  })
})
