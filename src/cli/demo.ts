/** A swarm on this machine: provider nodes with their own spans and a consumer, each a process of its own. */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { Command } from 'commander'
import { aborted, ShoalError } from '../common/index.ts'
import { openModel } from '../models/index.ts'
import { untilInterrupted } from './lifetime.ts'
import { DEMO_MODEL, integer } from './options.ts'
import { note } from './output.ts'

interface DemoOptions {
  readonly model: string
  readonly nodes: number
  readonly prompt: string
  readonly maxTokens: number
  readonly threads?: number
  readonly once?: boolean
  readonly json?: boolean
}

const SHOAL = fileURLToPath(new URL('../../bin/shoal.js', import.meta.url))
/** A process that does not end by then is not asked again; sessions are given five seconds to end. */
const END_MS = 10_000

export function demoCommand(): Command {
  return new Command('demo')
    .description('Three provider nodes, each with its own blocks, and a consumer that asks them for a story.')
    .option('--model <file>', 'any GGUF file (default: the embedded one)', DEMO_MODEL)
    .option('--nodes <count>', 'provider nodes', integer(1, 64), 3)
    .option('--prompt <text>', 'what to ask', 'Tell me a story about a little fish.')
    .option('--max-tokens <count>', 'longest answer', integer(1, 4096), 200)
    .option('--threads <count>', 'threads per node (default: by the size of its blocks)', integer(1, 1024))
    .option('--once', 'end after the answer')
    .option('--json', 'print one JSON object instead of text and table, and end')
    .action(demo)
}

async function demo(options: DemoOptions): Promise<void> {
  const signal = untilInterrupted()
  const folder = await mkdtemp(join(tmpdir(), 'shoal-demo-'))
  const children: ChildProcess[] = []
  const say = (message: string): void => void (options.json || note(message))
  try {
    const spans = await split(options.model, options.nodes)
    const providers = spans.map((span, index) =>
      startProvider(options, span, join(folder, `node-${index + 1}`), children, say)
    )
    const addresses = await unlessAborted(Promise.all(providers), signal)
    say(`\n${options.prompt}\n`)
    const failed = await unlessAborted(ask(options, addresses, children), signal)
    if (failed) process.exitCode = 1
    if (options.once || options.json || failed) return
    say('\nThe nodes stay up. Ask them again from another terminal:')
    const peers = addresses.map((address) => `--peer ${address}`).join(' ')
    say(`npm run shoal -- run ${options.model} "Tell me a story about a dog." ${peers}`)
    say('Press Ctrl-C to stop.')
    await Promise.race([aborted(signal), ...children.map((child) => once(child, 'exit'))])
    if (!signal.aborted) throw new ShoalError('NODE_ENDED', 'A node ended: see its message above.')
  } catch (error) {
    if (!signal.aborted) throw error
  } finally {
    await Promise.all(children.map(end))
    await rm(folder, { recursive: true, force: true })
  }
}

/** Equal spans, the longer ones first. */
async function split(path: string, nodes: number): Promise<string[]> {
  const model = await openModel(path)
  await model.close()
  const { blockCount } = model
  if (nodes > blockCount) {
    throw new ShoalError(
      'TOO_MANY',
      `${blockCount} blocks can't be split over ${nodes} nodes: use --nodes ${blockCount}.`
    )
  }
  const border = (index: number): number => Math.ceil((index * blockCount) / nodes)
  return Array.from({ length: nodes }, (_, index) => `${border(index)}-${border(index + 1)}`)
}

/** Resolves to the provider's address once it can be asked. */
async function startProvider(
  { model, threads }: DemoOptions,
  span: string,
  dataDir: string,
  children: ChildProcess[],
  say: (message: string) => void
): Promise<string> {
  const threadFlags = threads === undefined ? [] : ['--threads', String(threads)]
  const flags = ['--model', model, '--blocks', span, '--data-dir', dataDir, '--json', ...threadFlags]
  // The message channel tells the child when this process is gone, however it ended.
  const child = spawn(process.execPath, [SHOAL, 'up', ...flags], {
    stdio: ['ignore', 'pipe', 'inherit', 'ipc'],
    env: unset()
  })
  children.push(child)
  const lines = createInterface({ input: child.stdout as NodeJS.ReadableStream })
  const ready = once(lines, 'line')
  const exit = once(child, 'exit').then(([code]) => {
    throw new ShoalError(
      'NODE_ENDED',
      `The node for blocks ${span} ended with code ${code}: see its message above.`
    )
  })
  const [line] = (await Promise.race([ready, exit])) as [string]
  const { peer, addresses } = JSON.parse(line) as { peer: string; addresses: [string] }
  say(`node ${peer} hosts blocks ${span}`)
  return addresses[0]
}

/** Runs the consumer; true if it failed. */
async function ask(options: DemoOptions, addresses: string[], children: ChildProcess[]): Promise<boolean> {
  const { model, prompt, maxTokens, json } = options
  const flags = [...addresses.flatMap((address) => ['--peer', address]), '--max-tokens', String(maxTokens)]
  const args = [SHOAL, 'run', model, prompt, ...flags, json ? '--json' : '--verbose']
  const consumer = spawn(process.execPath, args, {
    stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
    env: unset()
  })
  children.push(consumer)
  const [code] = (await once(consumer, 'exit')) as [number | null]
  return code !== 0
}

/** What somebody has set for their own nodes and questions is not for these. */
function unset(): NodeJS.ProcessEnv {
  const others = Object.entries(process.env).filter(([name]) => !/^SHOAL_(UP|RUN)_/.test(name))
  return { ...Object.fromEntries(others), SHOAL_CONFIG: '' }
}

async function unlessAborted<T>(work: Promise<T>, signal: AbortSignal): Promise<T> {
  work.catch(() => {}) // what it has to say when it is ended is of no interest
  await Promise.race([work, aborted(signal)])
  signal.throwIfAborted()
  return work
}

async function end(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return
  const exit = once(child, 'exit')
  if (child.connected)
    child.disconnect() // at once: a signal would have it wait for its sessions
  else child.kill('SIGTERM')
  const impatience = setTimeout(() => child.kill('SIGKILL'), END_MS)
  await exit
  clearTimeout(impatience)
}
