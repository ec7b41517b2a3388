/** The file that `shoal plan --machines` reads. */
import { readFile } from 'node:fs/promises'
import { InvalidArgumentError } from 'commander'
import { z } from 'zod'
import type { Machine, PlanInput } from '../swarm/index.ts'
import { UsageError } from './lifetime.ts'
import { bytes } from './options.ts'

export type Links = Pick<PlanInput, 'linkMs' | 'consumerMs'>

export const EXAMPLE = `{
  "machines": [
    { "name": "desk", "memory": "8GiB", "decodeMsPerBlock": 1.5, "prefillMsPerBlock": 0.2 },
    { "name": "laptop", "memory": "4GiB", "decodeMsPerBlock": 6, "prefillMsPerBlock": 0.9 }
  ],
  "links": [{ "from": "desk", "to": "laptop", "ms": 3 }],
  "otherLinksMs": 1,
  "consumer": { "desk": 0.2, "laptop": 3 }
}`

const positive = z.number().positive().finite()
const milliseconds = z.number().min(0).finite()
const name = z.string().min(1).max(256)
const machinesFile = z.strictObject({
  machines: z
    .array(
      z.strictObject({
        name,
        memory: z.union([z.number().int().min(0), z.string().transform(bytesOr)]),
        decodeMsPerBlock: positive,
        /** Without it as slow as decoding: promises nothing that does not hold. */
        prefillMsPerBlock: positive.optional()
      })
    )
    .min(1)
    .max(1_000),
  /** One way, in milliseconds; back the same unless it is given, too. */
  links: z.array(z.strictObject({ from: name, to: name, ms: milliseconds })).optional(),
  otherLinksMs: milliseconds.default(1),
  /** From each machine to whoever asks, one way. */
  consumer: z.record(name, milliseconds).optional()
})

function bytesOr(text: string, context: z.RefinementCtx<string>): number {
  try {
    return bytes(text)
  } catch (error) {
    if (!(error instanceof InvalidArgumentError)) throw error
    context.addIssue({ code: 'custom', message: error.message })
    return z.NEVER
  }
}

/** Throws a UsageError that says what is wrong with the file. */
export async function readMachines(path: string): Promise<Links & { machines: Machine[] }> {
  const parsed = machinesFile.safeParse(parseJson(await readFile(path, 'utf8'), path))
  if (!parsed.success) {
    const [{ path: where, message }] = parsed.error.issues as [z.core.$ZodIssue]
    throw new UsageError(`${path}: ${where.join('.')}: ${message}. It should look like\n${EXAMPLE}`)
  }
  const { machines, links = [], otherLinksMs, consumer = {} } = parsed.data
  const names = machines.map(({ name }) => name)
  const wrong = [...links.flatMap(({ from, to }) => [from, to]), ...Object.keys(consumer)].find(
    (one) => !names.includes(one)
  )
  if (wrong !== undefined) throw new UsageError(`${path}: there is a link of ${wrong}, but no such machine.`)
  if (new Set(names).size < names.length) throw new UsageError(`${path}: two machines have the same name.`)
  const back = links.map(({ from, to, ms }) => ({ from: to, to: from, ms }))
  const known = new Map([...back, ...links].map(({ from, to, ms }) => [JSON.stringify([from, to]), ms]))
  return {
    machines: machines.map(({ memory, prefillMsPerBlock, ...machine }) => ({
      ...machine,
      memoryBytes: memory,
      prefillMsPerBlock: prefillMsPerBlock ?? machine.decodeMsPerBlock
    })),
    linkMs: (from, to) => known.get(JSON.stringify([from, to])) ?? otherLinksMs,
    consumerMs: (machine) => consumer[machine] ?? otherLinksMs
  }
}

function parseJson(text: string, path: string): unknown {
  try {
    return JSON.parse(text)
  } catch (error) {
    throw new UsageError(`${path} is no JSON: ${(error as Error).message}. It should look like\n${EXAMPLE}`)
  }
}
