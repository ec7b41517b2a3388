// Messages to bytes and back: protobuf outside, checked plain data inside.
import { create, type DescMessage, fromBinary, type MessageInitShape, toBinary } from '@bufbuild/protobuf'
import type { z } from 'zod'
import { WireError } from './errors.ts'
import {
  MAX_DIRECTORY_BYTES,
  MAX_GOSSIP_BYTES,
  MAX_MESSAGE_BYTES,
  MAX_PIECE_MESSAGE_BYTES
} from './limits.ts'
import {
  AnnouncementSchema,
  ControlMessageSchema,
  GossipSchema,
  InfoRequestSchema,
  InfoSchema,
  ModelSummarySchema,
  PieceMessageSchema,
  SwarmAnswerSchema,
  SwarmRequestSchema,
  WithdrawalSchema
} from './messages_pb.ts'
import * as schemas from './schemas.ts'
import type {
  Announcement,
  ControlMessage,
  Gossip,
  Info,
  ModelSummary,
  PieceMessage,
  SwarmAnswer,
  SwarmRequest,
  Withdrawal
} from './types.ts'

const READ = { readUnknownFields: false }
type ControlInit = MessageInitShape<typeof ControlMessageSchema>['message']

function check<T>(schema: z.ZodType<T>, value: unknown): T {
  const result = schema.safeParse(value)
  if (result.success) return result.data
  const issue = result.error.issues[0]
  const field = issue?.path.join('.') || undefined
  throw new WireError('INVALID', `${field ?? 'the message'}: ${issue?.message ?? 'not allowed'}`, field)
}

function bounded(bytes: Uint8Array, most = MAX_MESSAGE_BYTES): Uint8Array {
  if (bytes.byteLength <= most) return bytes
  throw new WireError('TOO_LARGE', `a message of ${bytes.byteLength} bytes: at most ${most}`)
}

function parse<T>(bytes: Uint8Array, read: (bytes: Uint8Array) => T, most = MAX_MESSAGE_BYTES): T {
  bounded(bytes, most)
  try {
    return read(bytes)
  } catch (cause) {
    throw new WireError('MALFORMED', 'not a protobuf message of this protocol', undefined, { cause })
  }
}

/** Throws {@link WireError} when the message is not one that the other side would accept. */
export function encodeControl(message: ControlMessage): Uint8Array {
  const { type, ...value } = check(schemas.controlMessage, message)
  const fields = 'nonce' in value ? { ...value, nonce: BigInt(value.nonce) } : value
  const init = { case: type, value: fields } as ControlInit
  return bounded(toBinary(ControlMessageSchema, create(ControlMessageSchema, { message: init })))
}

/** As decoding what {@link encodeControl} gives, without the bytes between. Throws {@link WireError}. */
export function copyControl(message: ControlMessage): ControlMessage {
  return check(schemas.controlMessage, message)
}

/** Throws {@link WireError}. */
export function decodeControl(bytes: Uint8Array): ControlMessage {
  const { message } = parse(bytes, (source) => fromBinary(ControlMessageSchema, source, READ))
  if (message.case === undefined) throw new WireError('MALFORMED', 'a control message of no known kind')
  const { value } = message
  const fields = 'nonce' in value ? { ...value, nonce: Number(value.nonce) } : value
  return check(schemas.controlMessage, { ...fields, type: message.case })
}

/** Throws {@link WireError}. */
export function copyInfo(info: Info): Info {
  return check(schemas.info, info)
}

/** Throws {@link WireError}. */
export function encodeInfo(info: Info): Uint8Array {
  return bounded(toBinary(InfoSchema, create(InfoSchema, check(schemas.info, info))))
}

/** Throws {@link WireError}. */
export function decodeInfo(bytes: Uint8Array): Info {
  return check(
    schemas.info,
    parse(bytes, (source) => fromBinary(InfoSchema, source, READ))
  )
}

export function encodeInfoRequest(): Uint8Array {
  return toBinary(InfoRequestSchema, create(InfoRequestSchema, { version: 1 }))
}

/** Throws {@link WireError}. */
export function checkInfoRequest(bytes: Uint8Array): void {
  parse(bytes, (source) => fromBinary(InfoRequestSchema, source, READ))
}

/** Messages that are plain fields. */
function plain<T>(schema: DescMessage, rule: z.ZodType<T>, most: number) {
  return {
    encode: (value: T): Uint8Array => {
      const { at, sequence, ...fields } = check(rule, value) as T & { at?: number; sequence?: number }
      const times = {
        ...(at === undefined ? {} : { at: BigInt(at) }),
        ...(sequence === undefined ? {} : { sequence: BigInt(sequence) })
      }
      return bounded(
        toBinary(schema, create(schema, { ...fields, ...times } as Record<string, unknown>)),
        most
      )
    },
    decode: (bytes: Uint8Array): T =>
      check(
        rule,
        parse(bytes, (source) => fromBinary(schema, source, READ), most)
      )
  }
}

/** Messages that are one of several kinds. */
function oneOf<T extends { type: string }>(schema: DescMessage, rule: z.ZodType<T>, most: number) {
  return {
    copy: (value: T): T => check(rule, value),
    encode: (value: T): Uint8Array => {
      const { type, ...fields } = check(rule, value)
      return bounded(
        toBinary(
          schema,
          create(schema, { message: { case: type, value: fields } } as Record<string, unknown>)
        ),
        most
      )
    },
    decode: (bytes: Uint8Array): T => {
      const decoded = parse(bytes, (source) => fromBinary(schema, source, READ), most)
      const { message } = decoded as unknown as { message: { case?: string; value?: object } }
      if (message.case === undefined) throw new WireError('VERSION', 'a message of no known kind')
      return check(rule, { ...message.value, type: message.case })
    }
  }
}

// Each throws {@link WireError}, both ways.
export const announcements = plain<Announcement>(AnnouncementSchema, schemas.announcement, MAX_GOSSIP_BYTES)
export const withdrawals = plain<Withdrawal>(WithdrawalSchema, schemas.withdrawal, MAX_GOSSIP_BYTES)
export const summaries = plain<ModelSummary>(ModelSummarySchema, schemas.modelSummary, MAX_GOSSIP_BYTES)
export const gossip = oneOf<Gossip>(GossipSchema, schemas.gossip, MAX_GOSSIP_BYTES)
export const swarmRequests = oneOf<SwarmRequest>(SwarmRequestSchema, schemas.swarmRequest, MAX_MESSAGE_BYTES)
export const swarmAnswers = oneOf<SwarmAnswer>(SwarmAnswerSchema, schemas.swarmAnswer, MAX_DIRECTORY_BYTES)
export const pieceMessages = oneOf<PieceMessage>(
  PieceMessageSchema,
  schemas.pieceMessage,
  MAX_PIECE_MESSAGE_BYTES
)
