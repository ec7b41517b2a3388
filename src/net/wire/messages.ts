// Messages to bytes and back: protobuf outside, checked plain data inside.
import { create, fromBinary, type MessageInitShape, toBinary } from '@bufbuild/protobuf'
import type { z } from 'zod'
import { WireError } from './errors.ts'
import { MAX_MESSAGE_BYTES } from './limits.ts'
import { ControlMessageSchema, InfoRequestSchema, InfoSchema } from './messages_pb.ts'
import * as schemas from './schemas.ts'
import type { ControlMessage, Info } from './types.ts'

const READ = { readUnknownFields: false }
type ControlInit = MessageInitShape<typeof ControlMessageSchema>['message']

function check<T>(schema: z.ZodType<T>, value: unknown): T {
  const result = schema.safeParse(value)
  if (result.success) return result.data
  const issue = result.error.issues[0]
  const field = issue?.path.join('.') || undefined
  throw new WireError('INVALID', `${field ?? 'the message'}: ${issue?.message ?? 'not allowed'}`, field)
}

function bounded(bytes: Uint8Array): Uint8Array {
  if (bytes.byteLength <= MAX_MESSAGE_BYTES) return bytes
  throw new WireError('TOO_LARGE', `a message of ${bytes.byteLength} bytes: at most ${MAX_MESSAGE_BYTES}`)
}

function parse<T>(bytes: Uint8Array, read: (bytes: Uint8Array) => T): T {
  bounded(bytes)
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

/** Throws {@link WireError}. */
export function decodeControl(bytes: Uint8Array): ControlMessage {
  const { message } = parse(bytes, (source) => fromBinary(ControlMessageSchema, source, READ))
  if (message.case === undefined) throw new WireError('MALFORMED', 'a control message of no known kind')
  const { value } = message
  const fields = 'nonce' in value ? { ...value, nonce: Number(value.nonce) } : value
  return check(schemas.controlMessage, { ...fields, type: message.case })
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
