/** Bits in bytes, the highest of each first. */

export function isSet(bits: Uint8Array, index: number): boolean {
  return ((bits[index >> 3] ?? 0) & (0x80 >> (index & 7))) !== 0
}

export function setBit(bits: Uint8Array, index: number, value: boolean): void {
  const mask = 0x80 >> (index & 7)
  bits[index >> 3] = value ? (bits[index >> 3] as number) | mask : (bits[index >> 3] as number) & ~mask
}

export function countBits(bits: Uint8Array): number {
  let count = 0
  for (let byte of bits) for (; byte > 0; byte &= byte - 1) count++
  return count
}
