// What the wire's property tests draw from.
import fc from 'fast-check'
import { MAX_INT32, MAX_UINT32 } from './limits.ts'
import type { ControlMessage, Frame, Info, Profile } from './types.ts'

const uint32 = fc.integer({ min: 0, max: MAX_UINT32 })
const position = fc.integer({ min: 0, max: MAX_INT32 })
const float = fc.float({ noNaN: true, noDefaultInfinity: true }).map((value) => value + 0) // no -0
const unit = fc.float({ min: 0, max: 1, noNaN: true })
const positive = fc.float({ min: 0, noNaN: true, noDefaultInfinity: true })
const bytes16 = fc.uint8Array({ minLength: 16, maxLength: 16 })
const modelId = fc.string({ unit: fc.constantFrom(...'0123456789abcdef'), minLength: 64, maxLength: 64 })
const text = (maxLength: number, minLength = 0) => fc.string({ minLength, maxLength, unit: 'binary-ascii' })
const addresses = fc.array(text(60), { maxLength: 4 })
const span = fc
  .tuple(fc.nat(200), fc.integer({ min: 1, max: 100 }))
  .map(([start, count]) => ({ start, end: start + count }))

const profile: fc.Arbitrary<Profile> = fc.record({
  kvTypeK: text(8, 1),
  kvTypeV: text(8, 1),
  flashAttention: fc.boolean(),
  codec: text(8, 1),
  longContext: fc.boolean()
})

const sampler = fc.record({
  temperature: positive,
  topK: fc.integer({ min: -1, max: 1_000 }),
  topP: unit,
  minP: unit,
  penaltyLastN: fc.integer({ min: -1, max: 4_096 }),
  repeatPenalty: float,
  frequencyPenalty: float,
  presencePenalty: float,
  dry: fc.option(
    fc.record({
      multiplier: positive,
      base: float,
      allowedLength: fc.nat(100),
      penaltyLastN: fc.integer({ min: -1, max: 4_096 }),
      breakers: fc.array(text(8), { maxLength: 4 })
    }),
    { nil: undefined }
  ),
  logitBias: fc.array(fc.record({ token: position, bias: float }), { maxLength: 8 }),
  seed: uint32,
  grammar: text(200),
  generatedFrom: fc.nat()
})

const nextHop = fc.record({ peer: text(60, 1), addresses, ticket: bytes16 })

const open = fc
  .record({
    span,
    session: bytes16,
    model: modelId,
    head: fc.boolean(),
    profile,
    ticketIn: bytes16,
    next: fc.option(nextHop, { nil: undefined }),
    reserve: position,
    sampler: fc.option(sampler, { nil: undefined })
  })
  .map(({ span: { start, end }, ...rest }) => ({ type: 'open' as const, start, end, ...rest }))

const rows = fc.integer({ min: 1, max: 65_536 })
const nonce = fc.nat(Number.MAX_SAFE_INTEGER)

export const controlMessage: fc.Arbitrary<ControlMessage> = fc.oneof(
  open,
  fc.record({ type: fc.constant('opened' as const), maxRows: rows, capacity: position }),
  fc.record({ type: fc.constant('refused' as const), code: text(20, 1), message: text(100) }),
  fc.record({ type: fc.constant('need' as const), epoch: uint32, length: position }),
  fc.record({
    type: fc.constant('tokens' as const),
    epoch: uint32,
    position,
    tokens: fc.array(position, { minLength: 1, maxLength: 40 })
  }),
  fc.record({
    type: fc.constant('timing' as const),
    frames: fc.array(
      fc.record({
        epoch: uint32,
        position,
        rows,
        queueMicroseconds: uint32,
        computeMicroseconds: uint32,
        bytesIn: uint32,
        bytesOut: uint32
      }),
      { minLength: 1, maxLength: 20 }
    )
  }),
  fc.constant({ type: 'close' as const }),
  fc.record({ type: fc.constant('ping' as const), nonce }),
  fc.record({
    type: fc.constant('pong' as const),
    nonce,
    epoch: uint32,
    length: position,
    computed: position,
    receivedBytes: fc.nat(),
    stepMicroseconds: uint32
  }),
  fc.record({ type: fc.constant('resume' as const), session: bytes16, drawFrom: position }),
  fc.record({
    type: fc.constant('rewire' as const),
    ticketIn: fc.option(bytes16, { nil: undefined }),
    next: fc.option(nextHop, { nil: undefined }),
    drawFrom: position
  }),
  fc.record({ type: fc.constant('linked' as const), ticket: bytes16 }),
  fc.record({ type: fc.constant('unlinked' as const), ticket: bytes16, message: text(100) }),
  fc.record({ type: fc.constant('extend' as const), reserve: position }),
  fc.record({ type: fc.constant('extended' as const), capacity: position }),
  fc.record({ type: fc.constant('resample' as const), sampler }),
  fc.constant({ type: 'leaving' as const })
)

const stage = fc
  .record({
    span,
    model: modelId,
    name: text(20),
    architecture: text(20),
    rest: fc.nat(20),
    width: fc.integer({ min: 1, max: 16_384 }),
    head: fc.boolean(),
    embedding: fc.boolean(),
    profile,
    context: position,
    maxRows: rows
  })
  .map(({ span: { start, end }, rest, ...other }) => ({ start, end, blockCount: end + rest, ...other }))

export const info: fc.Arbitrary<Info> = fc.record({
  version: text(10),
  stages: fc.array(stage, { maxLength: 3 }),
  addresses,
  peers: fc.array(fc.record({ peer: text(60, 1), addresses }), { maxLength: 3 })
})

/** Frames of at most `maxRows` rows of `width` numbers. */
export function frame(width: number, maxRows: number): fc.Arbitrary<Frame> {
  return fc
    .record({
      epoch: uint32,
      position: fc.integer({ min: 0, max: MAX_INT32 - maxRows }),
      tokens: fc.array(position, { minLength: 1, maxLength: maxRows }),
      sample: fc.constantFrom('none' as const, 'last' as const, 'all' as const),
      codec: fc.constantFrom('none' as const, 'f32' as const),
      fill: fc.nat(255)
    })
    .map(({ tokens, codec, fill, ...rest }) => ({
      ...rest,
      codec,
      tokens: Int32Array.from(tokens),
      payload: new Uint8Array(codec === 'none' ? 0 : tokens.length * width * 4).map(
        (_, index) => index * 7 + fill
      )
    }))
}
