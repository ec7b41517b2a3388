// What a decoded message has to look like before anything else of Shoal sees it.
import { z } from 'zod'
import {
  MAX_ADDRESSES,
  MAX_BLOCKS,
  MAX_GRAMMAR_CHARACTERS,
  MAX_INT32,
  MAX_LOGIT_BIASES,
  MAX_PEERS,
  MAX_ROWS,
  MAX_STAGES,
  MAX_TIMINGS,
  MAX_UINT32,
  MAX_WIDTH,
  TICKET_BYTES
} from './limits.ts'
import type { ControlMessage, Info } from './types.ts'

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
  generatedFrom: position
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

export const controlMessage = z.discriminatedUnion('type', [
  open,
  z.object({ type: z.literal('opened'), maxRows: rows, capacity: position }),
  z.object({ type: z.literal('refused'), code: word.min(1), message: z.string().max(1_024) }),
  z.object({ type: z.literal('need'), epoch: uint32, length: position }),
  z.object({
    type: z.literal('tokens'),
    epoch: uint32,
    position,
    tokens: z.array(token).min(1).max(MAX_ROWS)
  }),
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

const stage = z
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
    context: position,
    maxRows: rows
  })
  .refine(nonEmptySpan, spanError)
  .refine((value) => value.end <= value.blockCount, { message: 'must be within the model', path: ['end'] })

export const info = z.object({
  version: word,
  stages: z.array(stage).max(MAX_STAGES),
  addresses,
  peers: z.array(z.object({ peer, addresses })).max(MAX_PEERS)
}) satisfies z.ZodType<Info>
