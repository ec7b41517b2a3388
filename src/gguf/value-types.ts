// How the metadata's scalar values are stored: their number in the file, their size, and how to get and set them.
import type { Scalar, ScalarType } from './types.ts'

/** The number that stands for an array. */
export const ARRAY_TYPE_ID = 9

interface FixedType {
  readonly id: number
  /** Bytes. */
  readonly size: number
  readonly get: (view: DataView, offset: number) => Scalar
  /** Throws a RangeError or TypeError when the value isn't one of the type. */
  readonly set: (view: DataView, offset: number, value: Scalar) => void
}

function integer(value: Scalar, low: number, high: number): number {
  if (typeof value !== 'number' || !Number.isInteger(value) || value < low || value > high) {
    throw new RangeError(`${String(value)} is no integer in [${low}, ${high}]`)
  }
  return value
}

function big(value: Scalar, low: bigint, high: bigint): bigint {
  if (typeof value !== 'bigint' || value < low || value > high) {
    throw new RangeError(`${String(value)} is no bigint in [${low}, ${high}]`)
  }
  return value
}

function float(value: Scalar): number {
  if (typeof value !== 'number') throw new RangeError(`${String(value)} is no number`)
  return value
}

function flag(value: Scalar): number {
  if (typeof value !== 'boolean') throw new RangeError(`${String(value)} is no boolean`)
  return value ? 1 : 0
}

/** All scalar types but strings. */
export const FIXED_TYPES: Readonly<Record<Exclude<ScalarType, 'string'>, FixedType>> = {
  u8: { id: 0, size: 1, get: (v, o) => v.getUint8(o), set: (v, o, x) => v.setUint8(o, integer(x, 0, 0xff)) },
  i8: {
    id: 1,
    size: 1,
    get: (v, o) => v.getInt8(o),
    set: (v, o, x) => v.setInt8(o, integer(x, -0x80, 0x7f))
  },
  u16: {
    id: 2,
    size: 2,
    get: (v, o) => v.getUint16(o, true),
    set: (v, o, x) => v.setUint16(o, integer(x, 0, 0xffff), true)
  },
  i16: {
    id: 3,
    size: 2,
    get: (v, o) => v.getInt16(o, true),
    set: (v, o, x) => v.setInt16(o, integer(x, -0x8000, 0x7fff), true)
  },
  u32: {
    id: 4,
    size: 4,
    get: (v, o) => v.getUint32(o, true),
    set: (v, o, x) => v.setUint32(o, integer(x, 0, 0xffffffff), true)
  },
  i32: {
    id: 5,
    size: 4,
    get: (v, o) => v.getInt32(o, true),
    set: (v, o, x) => v.setInt32(o, integer(x, -0x80000000, 0x7fffffff), true)
  },
  f32: {
    id: 6,
    size: 4,
    get: (v, o) => v.getFloat32(o, true),
    set: (v, o, x) => v.setFloat32(o, float(x), true)
  },
  // Any byte but 0 is true, as in llama.cpp.
  bool: { id: 7, size: 1, get: (v, o) => v.getUint8(o) !== 0, set: (v, o, x) => v.setUint8(o, flag(x)) },
  u64: {
    id: 10,
    size: 8,
    get: (v, o) => v.getBigUint64(o, true),
    set: (v, o, x) => v.setBigUint64(o, big(x, 0n, 2n ** 64n - 1n), true)
  },
  i64: {
    id: 11,
    size: 8,
    get: (v, o) => v.getBigInt64(o, true),
    set: (v, o, x) => v.setBigInt64(o, big(x, -(2n ** 63n), 2n ** 63n - 1n), true)
  },
  f64: {
    id: 12,
    size: 8,
    get: (v, o) => v.getFloat64(o, true),
    set: (v, o, x) => v.setFloat64(o, float(x), true)
  }
}

const STRING_TYPE_ID = 8

const namesById = new Map<number, ScalarType>([
  [STRING_TYPE_ID, 'string'],
  ...(Object.keys(FIXED_TYPES) as (keyof typeof FIXED_TYPES)[]).map(
    (name) => [FIXED_TYPES[name].id, name] as const
  )
])

export function scalarTypeName(id: number): ScalarType | undefined {
  return namesById.get(id)
}

export function scalarTypeId(name: ScalarType): number {
  return name === 'string' ? STRING_TYPE_ID : FIXED_TYPES[name].id
}
