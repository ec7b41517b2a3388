// What a decoded message has to look like before anything else of Shoal sees it.
import { z } from 'zod'
import {
  COORDINATE_DIMENSIONS,
  MAX_ADDRESSES,
  MAX_ALTERNATIVES,
  MAX_ANNOUNCED_STAGES,
  MAX_ANNOUNCEMENTS,
  MAX_BLOCKS,
  MAX_CERTIFICATE_BYTES,
  MAX_CHUNKED_BYTES,
  MAX_CODECS,
  MAX_COORDINATE_MS,
  MAX_EXTENSION_BYTES,
  MAX_EXTENSIONS,
  MAX_GOSSIP_BYTES,
  MAX_GRAMMAR_CHARACTERS,
  MAX_GRAMMAR_TRIGGERS,
  MAX_INT32,
  MAX_LOGIT_BIASES,
  MAX_PEERS,
  MAX_PIECE_INDICES,
  MAX_PIECES,
  MAX_ROWS,
  MAX_STAGES,
  MAX_SUMMARIES,
  MAX_TIMINGS,
  MAX_TRIGGER_CHARACTERS,
  MAX_TTL_SECONDS,
  MAX_UINT32,
  MAX_WANTS,
  MAX_WIDTH,
  SIGNATURE_BYTES,
  TICKET_BYTES
} from './limits.ts'
import type {
  Announcement,
  ControlMessage,
  Gossip,
  Info,
  ModelSummary,
  PieceMessage,
  Sealed,
  SwarmAnswer,
  SwarmRequest,
  Withdrawal
} from './types.ts'

const uint32 = z.int().min(0).max(MAX_UINT32)
const int32 = z
  .int()
  .min(-MAX_INT32 - 1)
  .max(MAX_INT32)
const position = z.int().min(0).max(MAX_INT32)
const token = position
const rows = z.int().min(1).max(MAX_ROWS)
const block = z.int().min(0).max(MAX_BLOCKS)
const float = z.number() // zod's numbers are finite
const unit = z.number().min(0).max(1)
const word = z.string().max(64)
// Copied: what is decoded is a view of the whole message, which would stay in memory with it.
const bytes16 = z
  .instanceof(Uint8Array)
  .refine((value) => value.byteLength === TICKET_BYTES, `must have ${TICKET_BYTES} bytes`)
  .transform((value) => new Uint8Array(value))
/** Absent and empty are the same on the wire. */
const optionalArray = <T extends z.ZodType>(item: T, max: number) =>
  z
    .array(item)
    .max(max)
    .transform((list) => (list.length === 0 ? undefined : list))
    .optional()
const modelId = z.string().regex(/^[0-9a-f]{64}$/)
const peer = z.string().min(1).max(128)
const addresses = z.array(z.string().max(512)).max(MAX_ADDRESSES)

const profile = z.object({
  kvTypeK: word.min(1),
  kvTypeV: word.min(1),
  flashAttention: z.boolean(),
  codec: word.min(1),
  longContext: z.boolean()
})

const sampler = z.object({
  temperature: float.min(0),
  topK: int32,
  topP: unit,
  minP: unit,
  penaltyLastN: int32.min(-1),
  repeatPenalty: float,
  frequencyPenalty: float,
  presencePenalty: float,
  dry: z
    .object({
      multiplier: float.min(0),
      base: float,
      allowedLength: int32.min(0),
      penaltyLastN: int32.min(-1),
      breakers: z.array(z.string().max(256)).max(64)
    })
    .optional(),
  logitBias: z.array(z.object({ token, bias: float })).max(MAX_LOGIT_BIASES),
  seed: uint32,
  grammar: z.string().max(MAX_GRAMMAR_CHARACTERS),
  grammarTriggers: optionalArray(z.string().min(1).max(MAX_TRIGGER_CHARACTERS), MAX_GRAMMAR_TRIGGERS),
  generatedFrom: position,
  alternatives: z.int().min(0).max(MAX_ALTERNATIVES).optional(),
  version: uint32.optional()
})

const nonEmptySpan = (value: { start: number; end: number }) => value.start < value.end
const spanError = { message: 'must be a range of at least one block', path: ['end'] }

const nextHop = z.object({ peer, addresses, ticket: bytes16 })

const open = z
  .object({
    type: z.literal('open'),
    session: bytes16,
    model: modelId,
    start: block,
    end: block,
    head: z.boolean(),
    profile,
    ticketIn: bytes16,
    next: nextHop.optional(),
    reserve: position,
    sampler: sampler.optional()
  })
  .refine(nonEmptySpan, spanError)

const nonce = z.int().min(0).max(Number.MAX_SAFE_INTEGER)

const frameTiming = z.object({
  epoch: uint32,
  position,
  rows,
  queueMicroseconds: uint32,
  computeMicroseconds: uint32,
  bytesIn: uint32,
  bytesOut: uint32
})

const drawLog = z.object({
  log: float.max(0),
  alternatives: z.array(z.object({ token, log: float.max(0) })).max(MAX_ALTERNATIVES)
})

const drawnTokens = z
  .object({
    type: z.literal('tokens'),
    epoch: uint32,
    position,
    tokens: z.array(token).min(1).max(MAX_ROWS),
    logs: optionalArray(drawLog, MAX_ROWS),
    sampler: uint32.optional()
  })
  .refine(({ tokens, logs }) => logs === undefined || logs.length === tokens.length, {
    message: 'must have one for each token',
    path: ['logs']
  })

export const controlMessage = z.discriminatedUnion('type', [
  open,
  z.object({ type: z.literal('opened'), maxRows: rows, capacity: position, sampler: uint32.optional() }),
  z.object({ type: z.literal('refused'), code: word.min(1), message: z.string().max(1_024) }),
  z.object({ type: z.literal('need'), epoch: uint32, length: position }),
  drawnTokens,
  z.object({ type: z.literal('timing'), frames: z.array(frameTiming).min(1).max(MAX_TIMINGS) }),
  z.object({ type: z.literal('close') }),
  z.object({ type: z.literal('ping'), nonce }),
  z.object({
    type: z.literal('pong'),
    nonce,
    epoch: uint32,
    length: position,
    computed: position,
    receivedBytes: z.number().min(0),
    stepMicroseconds: uint32
  }),
  z.object({ type: z.literal('resume'), session: bytes16, drawFrom: position }),
  z.object({
    type: z.literal('rewire'),
    ticketIn: bytes16.optional(),
    next: nextHop.optional(),
    drawFrom: position
  }),
  z.object({ type: z.literal('linked'), ticket: bytes16 }),
  z.object({ type: z.literal('unlinked'), ticket: bytes16, message: z.string().max(1_024) }),
  z.object({ type: z.literal('extend'), reserve: position }),
  z.object({ type: z.literal('extended'), capacity: position }),
  z.object({ type: z.literal('resample'), sampler }),
  z.object({ type: z.literal('leaving') })
]) satisfies z.ZodType<ControlMessage>

const stageInfo = z
  .object({
    model: modelId,
    name: z.string().max(256),
    architecture: word,
    start: block,
    end: block,
    blockCount: block.min(1),
    width: z.int().min(1).max(MAX_WIDTH),
    head: z.boolean(),
    embedding: z.boolean(),
    profile,
    codecs: optionalArray(word.min(1), MAX_CODECS),
    context: position,
    maxRows: rows,
    // What newer nodes may say beside this is no reason to use the stage.
    state: z
      .string()
      .transform((value) => (value === 'ready' ? undefined : ('loading' as const)))
      .optional(),
    speed: z.object({ decodeMicroseconds: uint32, prefillMicroseconds: uint32 }).optional(),
    sessions: uint32.optional(),
    demand: float.min(0).optional()
  })
  .refine(nonEmptySpan, spanError)
  .refine((value) => value.end <= value.blockCount, { message: 'must be within the model', path: ['end'] })

export const info = z.object({
  version: word,
  stages: z.array(stageInfo).max(MAX_STAGES),
  addresses,
  peers: z.array(z.object({ peer, addresses })).max(MAX_PEERS)
}) satisfies z.ZodType<Info>

const ms = float.min(-MAX_COORDINATE_MS).max(MAX_COORDINATE_MS)
const coordinate = z.object({
  vector: z.array(ms).length(COORDINATE_DIMENSIONS),
  height: ms.min(0),
  adjustment: ms,
  error: ms.min(0)
})
/** Milliseconds since 1970, as 64 bits on the wire. */
const time = z.union([z.bigint().transform(Number), z.number()]).pipe(nonce)
const bytes = (max: number) =>
  z
    .instanceof(Uint8Array)
    .refine((value) => value.byteLength <= max, `has more than ${max} bytes`)
    .transform((value) => new Uint8Array(value))

export const sealed = z.object({
  payload: bytes(MAX_GOSSIP_BYTES),
  signature: bytes(SIGNATURE_BYTES).refine((value) => value.byteLength === SIGNATURE_BYTES, 'is no signature')
}) satisfies z.ZodType<Sealed>

export const announcement = z.object({
  peer,
  sequence: time,
  ttlSeconds: z.int().min(1).max(MAX_TTL_SECONDS),
  version: word,
  addresses,
  stages: z.array(stageInfo).max(MAX_ANNOUNCED_STAGES),
  wants: z.array(modelId).max(MAX_WANTS),
  coordinate: coordinate.optional(),
  certificate: bytes(MAX_CERTIFICATE_BYTES),
  extensions: z
    .record(z.string().max(64), bytes(MAX_EXTENSION_BYTES))
    .refine((value) => Object.keys(value).length <= MAX_EXTENSIONS, `has more than ${MAX_EXTENSIONS} entries`)
}) satisfies z.ZodType<Announcement>

export const withdrawal = z.object({
  peer,
  sequence: time,
  observer: peer,
  at: time
}) satisfies z.ZodType<Withdrawal>

export const modelSummary = z
  .object({
    model: modelId,
    name: z.string().max(256),
    architecture: word,
    blockCount: block.min(1),
    holders: bytes(MAX_BLOCKS),
    nodes: uint32,
    demand: float.min(0),
    observer: peer,
    at: time
  })
  .refine((value) => value.holders.byteLength === value.blockCount, {
    message: 'must have one byte per block',
    path: ['holders']
  }) satisfies z.ZodType<ModelSummary>

export const gossip = z.discriminatedUnion('type', [
  sealed.extend({ type: z.literal('announcement') }),
  sealed.extend({ type: z.literal('withdrawal') }),
  sealed.extend({ type: z.literal('summary') })
]) satisfies z.ZodType<Gossip>

export const swarmRequest = z.discriminatedUnion('type', [
  z.object({ type: z.literal('directory'), models: z.array(modelId).max(MAX_STAGES) }),
  z.object({ type: z.literal('probe') }),
  z.object({ type: z.literal('load'), model: modelId }),
  z
    .object({ type: z.literal('assign'), model: modelId, start: block, end: block })
    .refine(nonEmptySpan, spanError),
  z.object({ type: z.literal('admit'), grant: sealed })
]) satisfies z.ZodType<SwarmRequest>

const stageLoad = z.object({
  model: modelId,
  start: block,
  end: block,
  freeSessions: uint32,
  freePositions: uint32,
  waitMicroseconds: uint32,
  stepMicroseconds: uint32
})

export const swarmAnswer = z.discriminatedUnion('type', [
  z.object({
    type: z.literal('directory'),
    announcements: z.array(z.object({ sealed, ageSeconds: uint32 })).max(MAX_ANNOUNCEMENTS),
    summaries: z.array(sealed).max(MAX_SUMMARIES)
  }),
  z.object({ type: z.literal('probe'), announcement: sealed.optional(), coordinate: coordinate.optional() }),
  z.object({
    type: z.literal('load'),
    stages: z.array(stageLoad).max(MAX_STAGES),
    coordinate: coordinate.optional()
  }),
  z.object({ type: z.literal('assign'), accepted: z.boolean(), message: z.string().max(1_024) }),
  z.object({
    type: z.literal('admit'),
    certificate: bytes(MAX_CERTIFICATE_BYTES),
    message: z.string().max(1_024)
  }),
  z.object({ type: z.literal('refused'), code: word.min(1), message: z.string().max(1_024) })
]) satisfies z.ZodType<SwarmAnswer>

const pieces = bytes(MAX_PIECES / 8)
const indices = z
  .array(
    z
      .int()
      .min(0)
      .max(MAX_PIECES - 1)
  )
  .min(1)
  .max(MAX_PIECE_INDICES)

export const pieceMessage = z.discriminatedUnion('type', [
  z.object({ type: z.literal('open'), model: modelId, pieces }),
  z.object({ type: z.literal('opened'), pieces }),
  z.object({ type: z.literal('get'), model: modelId, document: z.enum(['manifest', 'listing']) }),
  z.object({ type: z.literal('document'), byteLength: z.int().min(1).max(MAX_CHUNKED_BYTES) }),
  z.object({ type: z.literal('refused'), code: word.min(1), message: z.string().max(1_024) }),
  z.object({ type: z.literal('interested') }),
  z.object({ type: z.literal('uninterested') }),
  z.object({ type: z.literal('choke') }),
  z.object({ type: z.literal('unchoke') }),
  z.object({ type: z.literal('have'), indices }),
  z.object({ type: z.literal('request'), indices }),
  z.object({ type: z.literal('cancel'), indices }),
  z.object({ type: z.literal('reject'), indices })
]) satisfies z.ZodType<PieceMessage>
