/**
 * Memory of provider processes (node and engine together) beyond what they hold for the model: span files, KV cache
 * and compute buffers. Pages of files (Node itself, the libraries) are counted once for both. Linux only.
 */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdir, mkdtemp, open, readFile, rm, stat } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { type ModelFile, openModel, writeSpan } from '../src/models/index.ts'
import { Node } from '../src/node/index.ts'
import { defaultSampler, openSession } from '../src/session/index.ts'
import { discover, findChain } from '../src/swarm/index.ts'
import { type Bench, type Figure, rounded } from './bench.ts'
import { type ShapeName, writeShape } from './models.ts'
import { type Provider, startProvider } from './providers.ts'

const CONTEXT = 4096
const HOPS = 3
const MIB = 1024 * 1024

export const bench: Bench = {
  name: 'memory',
  description: 'memory of three providers beyond span files and KV cache (--shape 3b|1b)',
  async run({ flags, log }) {
    const { values } = parseArgs({ args: flags, options: { shape: { type: 'string', default: '3b' } } })
    const cache = join(tmpdir(), 'shoal-bench')
    await mkdir(cache, { recursive: true })
    log('writing the model (once)')
    const path = await writeShape(values.shape as ShapeName, 'Q4_0', cache)
    const folder = await mkdtemp(join(tmpdir(), 'shoal-memory-'))
    try {
      return await measure(path, folder, log)
    } finally {
      await rm(folder, { recursive: true, force: true })
    }
  }
}

async function measure(
  path: string,
  folder: string,
  log: (message: string) => void
): Promise<Record<string, Figure>> {
  const model = await openModel(path)
  const { id, blockCount } = model
  const providers: Provider[] = []
  const node = new Node({ dataDir: folder, listen: [], peers: [], ephemeral: true })
  const figures: Record<string, Figure> = {}
  try {
    await node.start()
    const border = (at: number): number => Math.round((at * blockCount) / HOPS)
    const spans = Array.from({ length: HOPS }, (_, hop) => ({ start: border(hop), end: border(hop + 1) }))
    for (const { start, end } of spans) {
      const flags = ['--context', String(CONTEXT), '--gpu-layers', '0']
      providers.push(await startProvider({ model: path, blocks: `${start}-${end}`, folder, flags }))
    }
    const chain = findChain(
      await discover(
        node.host,
        providers.map(({ address }) => address)
      ),
      id
    )
    log('a prompt of 1,000 tokens, and an answer')
    const session = await openSession(node, { chain, sampler: defaultSampler(), reserve: CONTEXT })
    const prompt = Int32Array.from({ length: 1000 }, (_, index) => 100 + index)
    for await (const _ of session.generate(prompt, { maxTokens: 8, endTokens: new Set() }));
    for (const [hop, { start, end }] of spans.entries()) {
      const { private: own, files } = await residentBytes((providers[hop] as Provider).process.pid as number)
      const held = await heldBytes(model, { start, end }, join(folder, `node-${start}-${end}`, 'spans'))
      const resident = own + files
      figures[`blocks ${start}-${end}`] = {
        value: rounded((resident - held) / MIB),
        target: '<= 150',
        unit: 'MiB',
        note: `${rounded(resident / MIB)} resident, ${rounded(held / MIB)} for weights, KV cache and computing`
      }
    }
    await session.close()
    return figures
  } finally {
    await Promise.all(providers.map((provider) => provider.stop()))
    await node.stop()
    await model.close()
  }
}

/** Size of the span's file, and what llama.cpp logs of its other buffers when it loads it. */
async function heldBytes(
  model: ModelFile,
  span: { start: number; end: number },
  folder: string
): Promise<number> {
  const { files } = await writeSpan(model, span, folder)
  const sizes = await Promise.all(files.map(async (file) => (await stat(file)).size))
  const path = join(folder, 'load.log')
  const log = await open(path, 'w')
  const loader = join(import.meta.dirname, 'load.ts')
  const child = spawn(process.execPath, [loader, String(CONTEXT), ...files], {
    stdio: ['ignore', 'ignore', log.fd]
  })
  await once(child, 'exit')
  await log.close()
  const lines = (await readFile(path, 'utf8')).matchAll(/(?:KV|compute) buffer size = +([\d.]+) MiB/g)
  const buffers = [...lines].reduce((sum, [, size]) => sum + Number(size) * MIB, 0)
  if (buffers === 0) throw new Error(`llama.cpp logged no buffers: see ${path}`)
  return sizes.reduce((sum, size) => sum + size, 0) + buffers
}

/** Of a process and its children: private memory, and pages of files (the most that one of them has). */
async function residentBytes(pid: number): Promise<{ private: number; files: number }> {
  const status = await readFile(`/proc/${pid}/status`, 'utf8')
  const bytes = (field: string): number => Number(new RegExp(`${field}:\\s+(\\d+)`).exec(status)?.[1]) * 1024
  const children = (await readFile(`/proc/${pid}/task/${pid}/children`, 'utf8')).trim()
  const of = await Promise.all(children === '' ? [] : children.split(' ').map(Number).map(residentBytes))
  return {
    private: of.reduce((sum, child) => sum + child.private, bytes('RssAnon')),
    files: Math.max(bytes('RssFile'), ...of.map((child) => child.files))
  }
}
