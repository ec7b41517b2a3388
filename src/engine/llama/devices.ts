import type { DeviceInfo } from '../contract.ts'
import type { Llama, Pointer } from './library.ts'

/** By ggml's enum `ggml_backend_dev_type`. */
const KINDS = ['cpu', 'gpu', 'integrated', 'accelerator'] as const

/** Everything ggml can compute on, with its memory in bytes. */
export function listDevices(llama: Llama): DeviceInfo[] {
  const count = Number(llama.ggml_backend_dev_count())
  return Array.from({ length: count }, (_, index) => {
    const device = llama.ggml_backend_dev_get(index) as Pointer
    const free = [0]
    const total = [0]
    llama.ggml_backend_dev_memory(device, free, total)
    const kind = KINDS[llama.ggml_backend_dev_type(device) as number] ?? 'accelerator'
    return {
      name: llama.ggml_backend_dev_name(device),
      description: llama.ggml_backend_dev_description(device),
      kind,
      // ggml says that all of the CPU's memory is free
      memoryFree: kind === 'cpu' ? process.availableMemory() : Number(free[0]),
      memoryTotal: Number(total[0])
    }
  })
}
