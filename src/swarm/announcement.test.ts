import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { announcements, type Gossip, gossip, type Sealed, WireError } from '../net/index.ts'
import {
  createOpener,
  NotAdmittedError,
  SignatureError,
  sealAnnouncement,
  sealSummary,
  sealWithdrawal
} from './announcement.ts'
import { MemorySwarm, verifyMemory } from './testing.ts'
import { announced, announcementOf, MODEL, OTHER_MODEL, stageOf } from './testing-members.ts'

const SEED = 20_261_121
const memory = new MemorySwarm()
const me = memory.add('me')
const liar = memory.add('liar')
const sign = (bytes: Uint8Array): Promise<Uint8Array> => me.sign(bytes)
const opener = createOpener(verifyMemory)
const withdrawal = { peer: 'other', sequence: 7, observer: 'me', at: 1_000 }
const summary = {
  ...{
    model: MODEL,
    name: 'm',
    architecture: 'llama',
    blockCount: 2,
    holders: Uint8Array.of(1, 0),
    nodes: 1
  },
  ...{ demand: 2, observer: 'me', at: 1_000 }
}

describe('what is sealed', () => {
  test('opens as it was', async () => {
    const value = announcementOf('me', {
      wants: [OTHER_MODEL, MODEL],
      stages: [stageOf(0, 4), stageOf(4, 8)]
    })
    const sealed = await sealAnnouncement(value, sign)
    const notice = await opener.read(gossip.encode({ type: 'announcement', ...sealed.sealed }))
    if (notice.type !== 'announcement') throw new Error(notice.type)
    expect(notice.announced).toEqual(sealed)
    expect(notice.announced.announcement).toEqual(value)
    expect(notice.announced.stages.map(({ peer, stage }) => [peer, stage.start])).toEqual([
      ['me', 0],
      ['me', 4]
    ])
    expect([[...sealed.hosts], [...sealed.waits]]).toEqual([[MODEL], [OTHER_MODEL]])
    expect(opener.open({ type: 'withdrawal', ...(await sealWithdrawal(withdrawal, sign)) })).toEqual({
      ...{ type: 'withdrawal', withdrawal }
    })
    const opened = opener.open({ type: 'summary', ...(await sealSummary(summary, sign)) })
    expect(opened).toMatchObject({ type: 'summary', summary })
  })

  test('is refused when somebody else signed it', async () => {
    const { sealed } = await sealAnnouncement(announcementOf('me'), (bytes) => liar.sign(bytes))
    expect(() => opener.open({ type: 'announcement', ...sealed })).toThrow(SignatureError)
    const accusation = await sealWithdrawal(withdrawal, (bytes) => liar.sign(bytes))
    expect(() => opener.open({ type: 'withdrawal', ...accusation })).toThrow(SignatureError)
  })

  test('can’t be shown for something else', async () => {
    const { payload } = await sealSummary(summary, sign)
    for (const domain of ['', 'shoal withdrawal\0']) {
      const signature = await me.sign(Uint8Array.of(...new TextEncoder().encode(domain), ...payload))
      expect(() => opener.open({ type: 'summary', payload, signature })).toThrow(SignatureError)
    }
  })

  test('is refused when anything in it has changed', async () => {
    const { sealed } = await announced('me')
    const property = fc.property(
      fc.nat(),
      fc.integer({ min: 1, max: 255 }),
      fc.boolean(),
      (at, bits, inSignature) => {
        const changed: Sealed = { payload: sealed.payload.slice(), signature: sealed.signature.slice() }
        const part = inSignature ? changed.signature : changed.payload
        part[at % part.length] = (part[at % part.length] as number) ^ bits
        const open = (): unknown => opener.open({ type: 'announcement', ...changed })
        try {
          open()
        } catch (error) {
          return error instanceof SignatureError || error instanceof WireError
        }
        return false
      }
    )
    fc.assert(property, { seed: SEED, numRuns: 500 })
  })

  test('may say more than this version reads, and is passed on with it', async () => {
    const unknown = Uint8Array.of(0xf8, 0x07, 1) // field 127, varint
    const payload = Uint8Array.of(...announcements.encode(announcementOf('me')), ...unknown)
    const domain = new TextEncoder().encode('shoal announcement\0')
    const signature = await me.sign(Uint8Array.of(...domain, ...payload))
    const message = gossip.encode({ type: 'announcement', payload, signature })
    const notice = await opener.read(Uint8Array.of(...message, ...unknown))
    if (notice.type !== 'announcement') throw new Error(notice.type)
    expect(notice.announced.announcement).toEqual(announcementOf('me'))
    expect(notice.announced.sealed.payload).toEqual(payload)
  })

  test('of a kind that is not known yet is another version', () => {
    expect(() => opener.read(Uint8Array.of(0xfa, 0x07, 0))).toThrow(
      expect.objectContaining({ code: 'VERSION' })
    )
  })
})

test('where only members are admitted, who is none is not heard', async () => {
  const isMember = async (peer: string): Promise<boolean> => peer === 'me'
  const exclusive = createOpener(verifyMemory, ({ peer }) => isMember(peer))
  const message = async (peer: string): Promise<Gossip> => ({
    ...{ type: 'announcement', ...(await announced(peer)).sealed }
  })
  expect(await exclusive.open(await message('me'))).toMatchObject({ type: 'announcement' })
  await expect(exclusive.open(await message('liar'))).rejects.toThrow(NotAdmittedError)
})
