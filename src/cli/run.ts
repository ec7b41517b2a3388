import { addAbortSignal } from 'node:stream'
import { text as readAll } from 'node:stream/consumers'
import { Command } from 'commander'
import { ShoalError } from '../common/index.ts'
import { ChatText, type Model, resolveName } from '../models/index.ts'
import { dataFolder, type Node } from '../node/index.ts'
import { type ChainEvent, defaultSampler, openSession, type Session } from '../session/index.ts'
import type { ChainHop } from '../swarm/index.ts'
import { consumerNode, findModel } from './consumer.ts'
import { INTERRUPTED, UsageError, untilInterrupted, withStarted } from './lifetime.ts'
import { decimal, integer, peerOption, shortPeer, storeOption } from './options.ts'
import { note } from './output.ts'
import { Progress } from './progress.ts'

/** Positions reserved for the answer in the beginning; more are asked for on the way. */
const FIRST_STRETCH = 512

interface RunOptions {
  readonly peer: string[]
  readonly store?: string
  readonly dataDir: string
  readonly maxTokens: number
  readonly temperature: number
  readonly topK: number
  readonly topP: number
  readonly minP: number
  readonly seed: number
  readonly system?: string
  readonly wait: number
  readonly verbose?: boolean
  readonly json?: boolean
}

/** What `--json` prints, and what `--verbose` shows as a table. */
interface RunReport {
  readonly text: string
  readonly tokens: number
  readonly tokens_per_second: number
  readonly first_token_ms: number
  readonly hops: readonly {
    readonly node: string
    readonly span: string
    readonly ms_per_token: number
    readonly bytes_per_token: number
  }[]
}

export function runCommand(): Command {
  return new Command('run')
    .description('Ask a model that nodes host together.')
    .argument(
      '<model>',
      'llama3.2:1b, hf:user/repo:QUANT, the path or address of a GGUF, or an id: its vocabulary is read here, its ' +
        'blocks are computed by the nodes'
    )
    .argument('[prompt]', 'what to ask (default: standard input)')
    .addOption(peerOption())
    .option('--max-tokens <count>', 'longest answer', integer(1, 2 ** 20), 256)
    .option('--temperature <number>', '0: always the most likely token', decimal(0, 100), 0)
    .option('--top-k <count>', 'draw from the k most likely tokens; 0: off', integer(0, 2 ** 20), 0)
    .option('--top-p <number>', 'draw from the most likely tokens that make p', decimal(0, 1), 1)
    .option('--min-p <number>', "leave out tokens below p times the most likely one's", decimal(0, 1), 0)
    .option('--seed <number>', 'the same seed draws the same answer', integer(0, 2 ** 32 - 1), 0)
    .option('--system <text>', 'a system message')
    .option('--wait <seconds>', 'longest wait for a node that can take over a lost one', integer(0, 3600), 60)
    .addOption(storeOption())
    .option('--data-dir <folder>', 'where it is kept what this machine has joined', dataFolder())
    .option('-v, --verbose', 'print the chain and its timings')
    .option('--json', 'print one JSON object instead of text')
    .action(run)
}

async function run(name: string, prompt: string | undefined, options: RunOptions): Promise<void> {
  const signal = untilInterrupted()
  try {
    await ask(name, prompt ?? (await piped(signal)), options, signal)
  } catch (error) {
    if (!signal.aborted) throw error
    process.exitCode = INTERRUPTED
  }
}

/** What standard input has, if it is no terminal. */
async function piped(signal: AbortSignal): Promise<string> {
  return process.stdin.isTTY ? '' : await readAll(addAbortSignal(signal, process.stdin))
}

async function ask(name: string, question: string, options: RunOptions, signal: AbortSignal): Promise<void> {
  if (question.trim() === '') throw new UsageError('No prompt: give one as argument or on standard input.')
  resolveName(name) // before anything is started
  const progress = new Progress(`looking for ${name}`)
  const node = await consumerNode(options, progress.say)
  try {
    const model = await findModel(node, name, { signal, onProgress: progress.report })
    await node.start({ signal })
    const chat = new ChatText(await node.library.vocabulary(model, { signal, onProgress: progress.report }))
    progress.end()
    await withStarted([chat], signal, () => converse(node, model, chat, question, options, signal))
  } finally {
    progress.end()
    await node.stop()
  }
}

async function converse(
  node: Node,
  model: Model,
  chat: ChatText,
  question: string,
  options: RunOptions,
  signal: AbortSignal
): Promise<void> {
  const system = options.system === undefined ? [] : [{ role: 'system' as const, content: options.system }]
  const tokens = await chat.tokenize([...system, { role: 'user', content: question }])
  const waitMs = options.wait * 1000
  const chain = await findWay(node, model, { promptTokens: tokens.length, waitMs, signal, ...options })
  const maxTokens = longestAnswer(tokens.length, options.maxTokens, chain)
  const sampler = defaultSampler(options)
  const reserve = tokens.length + Math.min(maxTokens, FIRST_STRETCH)
  const onEvent = (event: ChainEvent): void => {
    if (event.type === 'lost') node.swarm.report(event.hop.peer)
    tell(event)
  }
  const session = await openSession(
    { host: node.host, relays: node.relays, directory: node.swarm },
    { chain, sampler, reserve, waitMs, signal, onEvent }
  )
  const request = { tokens, maxTokens, signal, waitMs, stream: !options.json }
  const measured = await answer(session, chat, request).finally(() => session.close())
  const report = { ...measured, hops: hopsOf(session) }
  if (options.json) console.log(JSON.stringify(report))
  else if (options.verbose) printTable(report)
}

interface WayOptions {
  readonly promptTokens: number
  readonly maxTokens: number
  readonly waitMs: number
  readonly signal: AbortSignal
}

/** The chain to ask; where there is none yet, says what is missing, and that it is wanted, and waits. */
async function findWay(node: Node, model: Model, options: WayOptions): Promise<readonly ChainHop[]> {
  const { promptTokens, maxTokens: answerTokens, waitMs, signal } = options
  let said: string | undefined
  const onMissing = ({ message }: Error): void => {
    if (message !== said) note(`note: ${message}`)
    said = message
  }
  const request = { model: model.id, promptTokens, answerTokens, waitMs, signal, onMissing }
  const { chain } = await node.route(request)
  return chain
}

/** What happens to the chain, for whoever wonders why the text pauses. */
function tell(event: ChainEvent): void {
  note(`${event.type === 'lost' ? '\n' : ''}note: ${describe(event)}`)
}

function describe(event: ChainEvent): string {
  const place = ({ start, end, peer }: ChainHop): string => `blocks ${start}-${end} at ${shortPeer(peer)}`
  switch (event.type) {
    case 'lost':
      return `lost ${place(event.hop)}: ${event.reason}`
    case 'leaving':
      return `${place(event.hop)} is leaving`
    case 'relayed':
      return `${place(event.hop)} is reached through this machine now`
    case 'waiting':
      return `waiting, since there is ${event.reason}`
    case 'repaired':
      return `going on with ${event.hops.map(place).join(', ')}`
  }
}

/** The answer's length that the chain's contexts leave room for. */
function longestAnswer(promptLength: number, maxTokens: number, chain: readonly ChainHop[]): number {
  const context = Math.min(...chain.map(({ stage }) => stage.context))
  if (promptLength >= context) {
    throw new ShoalError(
      'TOO_LONG',
      `The prompt has ${promptLength} tokens; the nodes have room for ${context}.`
    )
  }
  return Math.min(maxTokens, context - promptLength)
}

async function answer(
  session: Session,
  chat: ChatText,
  request: { tokens: Int32Array; maxTokens: number; signal: AbortSignal; waitMs: number; stream: boolean }
): Promise<Omit<RunReport, 'hops'>> {
  const { tokens, maxTokens, signal, waitMs, stream } = request
  const { endTokens } = chat
  const start = performance.now()
  let first = start
  let last = start
  let count = 0
  const drawn = async function* (): AsyncGenerator<number> {
    for await (const token of session.generate(tokens, { maxTokens, endTokens, waitMs, signal })) {
      last = performance.now()
      if (count++ === 0) first = last
      if (!endTokens.has(token)) yield token
    }
  }
  let text = ''
  for await (const piece of chat.decode(drawn())) {
    text += piece
    if (stream) process.stdout.write(piece)
  }
  if (stream) process.stdout.write('\n')
  return {
    text,
    tokens: count,
    tokens_per_second: last > first ? round(((count - 1) * 1000) / (last - first)) : 0,
    first_token_ms: round(first - start)
  }
}

function hopsOf(session: Session): RunReport['hops'] {
  return session.figures.map(({ queueMs, computeMs, bytesOut }, index) => {
    const { peer, start, end } = session.chain[index] as ChainHop
    const ms = round(queueMs + computeMs)
    return { node: shortPeer(peer), span: `${start}-${end}`, ms_per_token: ms, bytes_per_token: bytesOut }
  })
}

function round(value: number): number {
  return Math.round(value * 1000) / 1000
}

function printTable({ tokens, tokens_per_second, first_token_ms, hops }: RunReport): void {
  const header = ['hop', 'node', 'span', 'ms/token', 'bytes/token']
  const rows = hops.map(({ node, span, ms_per_token, bytes_per_token }, index) => [
    String(index + 1),
    node,
    span,
    ms_per_token.toFixed(2),
    String(bytes_per_token)
  ])
  const widths = header.map((title, column) =>
    Math.max(title.length, ...rows.map((row) => row[column]?.length ?? 0))
  )
  console.log()
  for (const row of [header, ...rows]) {
    console.log(
      row
        .map((cell, column) => cell.padEnd(widths[column] as number))
        .join('  ')
        .trimEnd()
    )
  }
  console.log(
    `\n${tokens} tokens, ${tokens_per_second.toFixed(1)} tokens per second, first after ${first_token_ms.toFixed(0)} ms`
  )
}
