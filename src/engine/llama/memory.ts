import koffi from 'koffi'
import type { Pointer } from './library.ts'

/** Memory that stays where it is, for structs that point into it; it lives as long as the process. */
export function allocate(bytes: number): { pointer: Pointer; memory: ArrayBuffer } {
  const pointer = koffi.address(koffi.alloc('uint8_t', bytes))
  return { pointer, memory: koffi.view(pointer, bytes) }
}
