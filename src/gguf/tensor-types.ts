/** How ggml stores a tensor: rows of blocks of `blockSize` weights, each block `typeSize` bytes long. */
export interface TensorType {
  /** The number in the file. */
  readonly id: number
  /** Weights per block. */
  readonly blockSize: number
  /** Bytes per block. */
  readonly typeSize: number
}

const type = (id: number, blockSize: number, typeSize: number): TensorType => ({ id, blockSize, typeSize })

/** All types of ggml by name, as of llama.cpp v0.5.0. Missing ids were removed from the format. */
export const TENSOR_TYPES: Readonly<Record<string, TensorType>> = {
  F32: type(0, 1, 4),
  F16: type(1, 1, 2),
  Q4_0: type(2, 32, 18),
  Q4_1: type(3, 32, 20),
  Q5_0: type(6, 32, 22),
  Q5_1: type(7, 32, 24),
  Q8_0: type(8, 32, 34),
  Q8_1: type(9, 32, 36),
  Q2_K: type(10, 256, 84),
  Q3_K: type(11, 256, 110),
  Q4_K: type(12, 256, 144),
  Q5_K: type(13, 256, 176),
  Q6_K: type(14, 256, 210),
  Q8_K: type(15, 256, 292),
  IQ2_XXS: type(16, 256, 66),
  IQ2_XS: type(17, 256, 74),
  IQ3_XXS: type(18, 256, 98),
  IQ1_S: type(19, 256, 50),
  IQ4_NL: type(20, 32, 18),
  IQ3_S: type(21, 256, 110),
  IQ2_S: type(22, 256, 82),
  IQ4_XS: type(23, 256, 136),
  I8: type(24, 1, 1),
  I16: type(25, 1, 2),
  I32: type(26, 1, 4),
  I64: type(27, 1, 8),
  F64: type(28, 1, 8),
  IQ1_M: type(29, 256, 56),
  BF16: type(30, 1, 2),
  TQ1_0: type(34, 256, 54),
  TQ2_0: type(35, 256, 66),
  MXFP4: type(39, 32, 17),
  NVFP4: type(40, 64, 36),
  Q1_0: type(41, 128, 18),
  Q2_0: type(42, 64, 18)
}

const namesById = new Map(Object.entries(TENSOR_TYPES).map(([name, { id }]) => [id, name]))

/** The name of the type with this number, undefined where ggml has none. */
export function tensorTypeName(id: number): string | undefined {
  return namesById.get(id)
}

/**
 * Bytes of a tensor with these dimensions (innermost first).
 * Throws a RangeError that says what is wrong: unknown type, no or more than four dimensions, a dimension that is
 * no positive integer, rows that are not whole blocks, or a size beyond 2^53.
 */
export function tensorByteLength(typeName: string, dims: readonly number[]): number {
  const known = Object.hasOwn(TENSOR_TYPES, typeName) ? TENSOR_TYPES[typeName] : undefined
  if (known === undefined) throw new RangeError(`unknown tensor type ${typeName}`)
  if (dims.length < 1 || dims.length > 4) throw new RangeError(`${dims.length} dimensions, not 1 to 4`)
  for (const dim of dims) {
    if (!Number.isSafeInteger(dim) || dim < 1) throw new RangeError(`dimension ${dim} is no positive integer`)
  }
  const [row = 0, ...others] = dims
  if (row % known.blockSize !== 0) {
    throw new RangeError(`rows of ${row} weights are not whole blocks of ${known.blockSize} (${typeName})`)
  }
  let bytes = (row / known.blockSize) * known.typeSize
  for (const dim of others) bytes *= dim
  // Rounding can't hide an overflow: what is above 2^53 stays above it when multiplied by at least 1.
  if (!Number.isSafeInteger(bytes)) throw new RangeError(`dimensions ${dims.join(' x ')} overflow`)
  return bytes
}
