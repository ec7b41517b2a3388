import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import * as arbitraries from './arbitraries.ts'
import { controlMessage, info } from './arbitraries.ts'
import { WireError } from './errors.ts'
import { MAX_MESSAGE_BYTES } from './limits.ts'
import * as messages from './messages.ts'
import { decodeControl, decodeInfo, encodeControl, encodeInfo } from './messages.ts'
import type { ControlMessage, Open } from './types.ts'

const SEED = 1

const SWARM = [
  messages.announcements,
  messages.withdrawals,
  messages.summaries,
  messages.gossip,
  messages.swarmRequests,
  messages.swarmAnswers,
  messages.pieceMessages
]

const OPEN: Open = {
  type: 'open',
  session: new Uint8Array(16),
  model: 'a'.repeat(64),
  start: 0,
  end: 2,
  head: false,
  profile: { kvTypeK: 'f16', kvTypeV: 'f16', flashAttention: true, codec: 'f32', longContext: false },
  ticketIn: new Uint8Array(16),
  reserve: 10
}

/** The outcome of decoding what a peer may send: a value, or a WireError. Anything else fails the test. */
function decodesOrRefuses(decode: (bytes: Uint8Array) => unknown, bytes: Uint8Array): boolean {
  try {
    decode(bytes)
    return true
  } catch (error) {
    if (error instanceof WireError) return false
    throw error
  }
}

describe('round trips', () => {
  test('control messages come back as they were', () => {
    const property = fc.property(controlMessage, (message) => {
      expect(decodeControl(encodeControl(message))).toEqual(message)
    })
    fc.assert(property, { seed: SEED, numRuns: 500 })
  })

  test('infos come back as they were', () => {
    const property = fc.property(info, (message) => {
      expect(decodeInfo(encodeInfo(message))).toEqual(message)
    })
    fc.assert(property, { seed: SEED })
  })

  test('what a swarm says comes back as it was', () => {
    const roundTrips = <T>(
      values: fc.Arbitrary<T>,
      { encode, decode }: { encode: (value: T) => Uint8Array; decode: (bytes: Uint8Array) => T }
    ): void => {
      const property = fc.property(values, (value) => {
        expect(decode(encode(value))).toEqual(value)
      })
      fc.assert(property, { seed: SEED })
    }
    roundTrips(arbitraries.announcement, messages.announcements)
    roundTrips(arbitraries.withdrawal, messages.withdrawals)
    roundTrips(arbitraries.modelSummary, messages.summaries)
    roundTrips(arbitraries.gossip, messages.gossip)
    roundTrips(arbitraries.swarmRequest, messages.swarmRequests)
    roundTrips(arbitraries.swarmAnswer, messages.swarmAnswers)
    roundTrips(arbitraries.pieceMessage, messages.pieceMessages)
  })

  test('a decoded ticket does not keep the whole message in memory', () => {
    const decoded = decodeControl(encodeControl(OPEN)) as Open
    expect(decoded.ticketIn.buffer.byteLength).toBe(16)
  })
})

describe('what peers may send', () => {
  test('random bytes are refused with a WireError or are a message', () => {
    const property = fc.property(fc.uint8Array({ maxLength: 300 }), (bytes) => {
      decodesOrRefuses(decodeControl, bytes)
      decodesOrRefuses(decodeInfo, bytes)
      for (const kind of SWARM) decodesOrRefuses(kind.decode, bytes)
    })
    fc.assert(property, { seed: SEED, numRuns: 3_000 })
  })

  test('mutated messages are refused with a WireError or are a message', () => {
    const mutation = fc.array(fc.tuple(fc.nat(), fc.nat(255)), { minLength: 1, maxLength: 4 })
    let refused = 0
    const property = fc.property(controlMessage, mutation, (message, changes) => {
      const bytes = encodeControl(message)
      for (const [at, value] of changes) bytes[at % bytes.length] = value
      if (!decodesOrRefuses(decodeControl, bytes)) refused++
    })
    fc.assert(property, { seed: SEED, numRuns: 3_000 })
    expect(refused).toBeGreaterThan(300)
  })

  test('a message above 1 MiB is refused before it is read', () => {
    expect(() => decodeControl(new Uint8Array(MAX_MESSAGE_BYTES + 1))).toThrow(
      expect.objectContaining({ code: 'TOO_LARGE' })
    )
  })

  test('a message full of nothing is refused: groups within groups do not overflow the stack', () => {
    expect(() => decodeControl(new Uint8Array(MAX_MESSAGE_BYTES).fill(0x7b))).toThrow(WireError)
  })

  test('unknown fields are ignored', () => {
    const bytes = encodeControl({ type: 'need', epoch: 1, length: 2 })
    const unknown = Uint8Array.of(0xf8, 0x07, 1) // field 127, varint
    expect(decodeControl(Uint8Array.of(...bytes, ...unknown))).toEqual({ type: 'need', epoch: 1, length: 2 })
  })

  test('an unknown kind of message is malformed', () => {
    expect(() => decodeControl(Uint8Array.of(0xfa, 0x07, 0))).toThrow(
      expect.objectContaining({ code: 'MALFORMED' })
    )
  })
})

describe('bounds', () => {
  const sampler = {
    temperature: 1,
    topK: 0,
    topP: 1,
    minP: 0,
    penaltyLastN: 0,
    repeatPenalty: 1,
    frequencyPenalty: 0,
    presencePenalty: 0,
    logitBias: [],
    seed: 0,
    grammar: '',
    generatedFrom: 0
  }
  const many = (count: number) => Array.from({ length: count }, () => ({ token: 1, log: -1 }))
  const cases: [string, ControlMessage, string][] = [
    ['a span without blocks', { ...OPEN, start: 2, end: 2 }, 'end'],
    ['a short ticket', { ...OPEN, ticketIn: new Uint8Array(15) }, 'ticketIn'],
    ['a model id that is no hash', { ...OPEN, model: '../secret' }, 'model'],
    [
      'a temperature that is no number',
      { ...OPEN, sampler: { ...sampler, temperature: Number.NaN } },
      'sampler.temperature'
    ],
    ['a negative length', { type: 'need', epoch: 0, length: -1 }, 'length'],
    ['no tokens', { type: 'tokens', epoch: 0, position: 0, tokens: [] }, 'tokens'],
    ['a token id beyond 31 bits', { type: 'tokens', epoch: 0, position: 0, tokens: [2 ** 31] }, 'tokens.0'],
    [
      'more alternatives than 20',
      { type: 'tokens', epoch: 0, position: 0, tokens: [1], logs: [{ log: 0, alternatives: many(21) }] },
      'logs.0.alternatives'
    ],
    [
      'a log that is no number',
      { type: 'tokens', epoch: 0, position: 0, tokens: [1], logs: [{ log: -Infinity, alternatives: [] }] },
      'logs.0.log'
    ],
    [
      'fewer logs than tokens',
      { type: 'tokens', epoch: 0, position: 0, tokens: [1, 2], logs: [{ log: 0, alternatives: [] }] },
      'logs'
    ],
    [
      'a wish for 21 alternatives',
      { ...OPEN, sampler: { ...sampler, alternatives: 21 } },
      'sampler.alternatives'
    ],
    [
      'an empty trigger',
      { ...OPEN, sampler: { ...sampler, grammarTriggers: [''] } },
      'sampler.grammarTriggers.0'
    ],
    [
      'more triggers than 16',
      { ...OPEN, sampler: { ...sampler, grammarTriggers: Array(17).fill('a') } },
      'sampler.grammarTriggers'
    ],
    ['a nonce beyond 53 bits', { type: 'ping', nonce: 2 ** 53 }, 'nonce'],
    ['a fraction of a row', { type: 'opened', maxRows: 1.5, capacity: 1 }, 'maxRows']
  ]
  test.each(cases)('%s is invalid', (_, message, field) => {
    expect(() => encodeControl(message)).toThrow(expect.objectContaining({ code: 'INVALID', field }))
  })
})
