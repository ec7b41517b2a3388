// What the wire's property tests draw from.
import fc from 'fast-check'
import { bytesPerRow, ROW_CODECS } from './codec.ts'
import { MAX_INT32, MAX_UINT32 } from './limits.ts'
import type {
  Announcement,
  ControlMessage,
  Frame,
  Gossip,
  Info,
  ModelSummary,
  PieceMessage,
  Profile,
  SwarmAnswer,
  SwarmRequest,
  Withdrawal
} from './types.ts'

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
  grammarTriggers: fc.option(fc.array(text(20, 1), { minLength: 1, maxLength: 16 }), { nil: undefined }),
  generatedFrom: fc.nat(),
  alternatives: fc.option(fc.integer({ min: 0, max: 20 }), { nil: undefined }),
  version: fc.option(uint32, { nil: undefined })
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

const log = float.map((value) => 0 - Math.abs(value)) // no -0
const drawLog = fc.record({
  log,
  alternatives: fc.array(fc.record({ token: position, log }), { maxLength: 20 })
})
const drawnTokens = fc
  .record({
    drawn: fc.array(fc.tuple(position, drawLog), { minLength: 1, maxLength: 40 }),
    hasLogs: fc.boolean(),
    epoch: uint32,
    position,
    sampler: fc.option(uint32, { nil: undefined })
  })
  .map(({ drawn, hasLogs, ...rest }) => ({
    type: 'tokens' as const,
    ...rest,
    tokens: drawn.map(([token]) => token),
    logs: hasLogs ? drawn.map(([, one]) => one) : undefined
  }))

export const controlMessage: fc.Arbitrary<ControlMessage> = fc.oneof(
  open,
  fc.record({
    type: fc.constant('opened' as const),
    maxRows: rows,
    capacity: position,
    sampler: fc.option(uint32, { nil: undefined })
  }),
  fc.record({ type: fc.constant('refused' as const), code: text(20, 1), message: text(100) }),
  fc.record({ type: fc.constant('need' as const), epoch: uint32, length: position }),
  drawnTokens,
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

const stageInfo = fc
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
    codecs: fc.option(fc.array(text(8, 1), { minLength: 1, maxLength: 4 }), { nil: undefined }),
    context: position,
    maxRows: rows,
    state: fc.constantFrom('loading' as const, undefined),
    speed: fc.option(fc.record({ decodeMicroseconds: uint32, prefillMicroseconds: uint32 }), {
      nil: undefined
    }),
    sessions: fc.option(uint32, { nil: undefined }),
    demand: fc.option(fc.nat(1_000), { nil: undefined })
  })
  .map(({ span: { start, end }, rest, ...other }) => ({ start, end, blockCount: end + rest, ...other }))

export const info: fc.Arbitrary<Info> = fc.record({
  version: text(10),
  stages: fc.array(stageInfo, { maxLength: 3 }),
  addresses,
  peers: fc.array(fc.record({ peer: text(60, 1), addresses }), { maxLength: 3 })
})

const millisecond = fc.integer({ min: -1_000, max: 1_000 })
const coordinate = fc.record({
  vector: fc.array(millisecond, { minLength: 8, maxLength: 8 }),
  height: fc.nat(1_000),
  adjustment: millisecond,
  error: fc.nat(2)
})
const time = fc.nat(2 ** 31)
const peer = text(60, 1)

export const announcement: fc.Arbitrary<Announcement> = fc.record({
  peer,
  sequence: time,
  ttlSeconds: fc.integer({ min: 1, max: 3_600 }),
  version: text(10),
  addresses,
  stages: fc.array(stageInfo, { maxLength: 3 }),
  wants: fc.array(modelId, { maxLength: 3 }),
  coordinate: fc.option(coordinate, { nil: undefined }),
  certificate: fc.uint8Array({ maxLength: 100 }),
  extensions: fc.dictionary(fc.stringMatching(/^[a-z]{1,8}$/), fc.uint8Array({ maxLength: 20 }), {
    maxKeys: 3
  })
})

export const withdrawal: fc.Arbitrary<Withdrawal> = fc.record({
  peer,
  sequence: time,
  observer: peer,
  at: time
})

export const modelSummary: fc.Arbitrary<ModelSummary> = fc
  .record({
    ...{ model: modelId, name: text(20), architecture: text(20), nodes: uint32, demand: fc.nat(1_000) },
    ...{ holders: fc.uint8Array({ minLength: 1, maxLength: 100 }), observer: peer, at: time }
  })
  .map((summary) => ({ ...summary, blockCount: summary.holders.byteLength }))

const sealed = fc.record({
  payload: fc.uint8Array({ maxLength: 200 }),
  signature: fc.uint8Array({ minLength: 64, maxLength: 64 })
})

export const gossip: fc.Arbitrary<Gossip> = fc
  .tuple(fc.constantFrom('announcement' as const, 'withdrawal' as const, 'summary' as const), sealed)
  .map(([type, rest]) => ({ type, ...rest }))

export const swarmRequest: fc.Arbitrary<SwarmRequest> = fc.oneof(
  fc.record({ type: fc.constant('directory' as const), models: fc.array(modelId, { maxLength: 3 }) }),
  fc.constant({ type: 'probe' as const }),
  fc.record({ type: fc.constant('load' as const), model: modelId }),
  fc
    .record({ type: fc.constant('assign' as const), model: modelId, span })
    .map(({ span: { start, end }, ...rest }) => ({ ...rest, start, end })),
  fc.record({ type: fc.constant('admit' as const), grant: sealed })
)

const stageLoad = fc
  .record({
    ...{ model: modelId, span, freeSessions: uint32, freePositions: uint32 },
    ...{ waitMicroseconds: uint32, stepMicroseconds: uint32 }
  })
  .map(({ span: { start, end }, ...rest }) => ({ ...rest, start, end }))

export const swarmAnswer: fc.Arbitrary<SwarmAnswer> = fc.oneof(
  fc.record({
    type: fc.constant('directory' as const),
    announcements: fc.array(fc.record({ sealed, ageSeconds: uint32 }), { maxLength: 3 }),
    summaries: fc.array(sealed, { maxLength: 3 })
  }),
  fc.record({
    type: fc.constant('probe' as const),
    announcement: fc.option(sealed, { nil: undefined }),
    coordinate: fc.option(coordinate, { nil: undefined })
  }),
  fc.record({
    type: fc.constant('load' as const),
    stages: fc.array(stageLoad, { maxLength: 3 }),
    coordinate: fc.option(coordinate, { nil: undefined })
  }),
  fc.record({ type: fc.constant('assign' as const), accepted: fc.boolean(), message: text(100) }),
  fc.record({
    type: fc.constant('admit' as const),
    certificate: fc.uint8Array({ maxLength: 100 }),
    message: text(100)
  }),
  fc.record({ type: fc.constant('refused' as const), code: text(10, 1), message: text(100) })
)

const indices = fc.array(fc.nat(2 ** 20 - 1), { minLength: 1, maxLength: 20 })
const pieces = fc.uint8Array({ maxLength: 40 })
const kind = <T extends string>(...types: T[]) => fc.constantFrom(...types)

export const pieceMessage: fc.Arbitrary<PieceMessage> = fc.oneof(
  fc.record({ type: kind('open'), model: modelId, pieces }),
  fc.record({ type: kind('opened'), pieces }),
  fc.record({ type: kind('get'), model: modelId, document: kind('manifest', 'listing') }),
  fc.record({ type: kind('document'), byteLength: fc.integer({ min: 1, max: 2 ** 24 }) }),
  fc.record({ type: kind('refused'), code: text(10, 1), message: text(100) }),
  fc.record({ type: kind('interested', 'uninterested', 'choke', 'unchoke') }),
  fc.record({ type: kind('have', 'request', 'cancel', 'reject'), indices })
)

/** Frames of at most `maxRows` rows of `width` numbers. */
export function frame(width: number, maxRows: number): fc.Arbitrary<Frame> {
  return fc
    .record({
      epochs: fc.tuple(uint32, uint32),
      position: fc.integer({ min: 0, max: MAX_INT32 - maxRows }),
      tokens: fc.array(position, { minLength: 1, maxLength: maxRows }),
      sample: fc.constantFrom('none' as const, 'last' as const, 'all' as const),
      codec: fc.constantFrom('none' as const, ...ROW_CODECS),
      fill: fc.nat(255)
    })
    .map(({ epochs, tokens, codec, fill, ...rest }) => ({
      ...rest,
      ...{ codec, epoch: Math.max(...epochs), follows: Math.min(...epochs) },
      tokens: Int32Array.from(tokens),
      payload: new Uint8Array(tokens.length * bytesPerRow(codec, width)).map((_, index) => index * 7 + fill)
    }))
}
