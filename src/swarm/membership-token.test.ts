import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { createHost } from '../net/index.ts'
import { ROLES, signGrant, swarmId } from './membership-papers.ts'
import { decodeToken, encodeToken, type Token, TokenError } from './membership-token.ts'

const SEED = 7
const CHARACTERS = [...'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_']
const founder = createHost({ identity: { ephemeral: true }, listen: [] })

async function make(changes: Partial<Token> = {}): Promise<Token> {
  const key = changes.key ?? new Uint8Array(32).fill(3)
  const grant = { id: 'a'.repeat(22), roles: [...ROLES], expires: 5, uses: 2 }
  return {
    ...{ name: 'home', key, founder: founder.peerId, addresses: ['/ip4/127.0.0.1/tcp/1'] },
    grant: await signGrant(grant, swarmId(key), (bytes) => founder.sign(bytes)),
    ...changes
  }
}

const plain = ({ name, key, founder, addresses, grant }: Token) => ({
  ...{ name, key: [...key], founder, addresses: [...addresses] },
  grant: { payload: [...grant.payload], signature: [...grant.signature] }
})

describe('a token', () => {
  test('comes back whole, also over several lines', async () => {
    const swarm = fc.record({
      name: fc.constantFrom('home', 'Zuhause, oben', '家', 'x'.repeat(64)),
      key: fc.uint8Array({ minLength: 32, maxLength: 32 }),
      addresses: fc.array(fc.webPath({ size: 'small' }).filter(Boolean), { minLength: 1, maxLength: 16 })
    })
    const all = fc.asyncProperty(swarm, fc.integer({ min: 1, max: 80 }), async (changes, width) => {
      const token = await make(changes)
      const lines = encodeToken(token).replaceAll(new RegExp(`.{${width}}`, 'g'), '$&\n  ')
      const { says, ...back } = decodeToken(lines)
      expect(plain(back)).toEqual(plain(token))
      expect(says).toMatchObject({ roles: ROLES, expires: 5, uses: 2 })
    })
    await fc.assert(all, { seed: SEED, numRuns: 100 })
  })

  test('is refused with any character changed, missing, doubled or swapped with the next', async () => {
    const text = encodeToken(await make())
    const refused = (changed: string): void => {
      if (changed !== text) expect(() => decodeToken(changed), changed).toThrow(TokenError)
    }
    const all = fc.property(fc.nat(text.length - 1), fc.constantFrom(...CHARACTERS), (at, character) => {
      refused(text.slice(0, at) + character + text.slice(at + 1))
      refused(text.slice(0, at) + text.slice(at + 1))
      refused(text.slice(0, at) + character + text.slice(at))
      refused(text.slice(0, at) + (text[at + 1] ?? '') + text[at] + text.slice(at + 2))
      refused(text.slice(0, at))
    })
    fc.assert(all, { seed: SEED, numRuns: 2_000 })
  })

  test.each([
    ['hello', /no invitation/],
    ['', /no invitation/],
    ['shoal9abc', /another version/],
    ['shoal1', /damaged/],
    [`shoal1${'A'.repeat(100_000)}`, /damaged/]
  ])('is not %.20s', (text, says) => {
    expect(() => decodeToken(text)).toThrow(says)
  })

  test.each([
    { name: '' },
    { name: 'x'.repeat(65) },
    { name: 'a\nb' },
    { name: '\u001b[2J' },
    { addresses: [] },
    { addresses: ['\u001b[2J'] },
    { founder: 'me' }
  ])("can't have %j", async (changes) => {
    const token = await make(changes)
    expect(() => encodeToken(token)).toThrow()
  })
})
