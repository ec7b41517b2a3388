import { readFile } from 'node:fs/promises'
import { addAbortSignal } from 'node:stream'
import { text as readAll } from 'node:stream/consumers'
import { Command } from 'commander'
import type { Format } from '../chat/index.ts'
import { resolveName } from '../models/index.ts'
import { answersOf, dataFolder, historyFile } from '../node/index.ts'
import type { CodecChoice } from '../session/index.ts'
import { Dialogue, Lines, type Parameters, Repl, reportInWords, show } from './chat/index.ts'
import { consumerNode } from './consumer.ts'
import { INTERRUPTED, Interrupts, UsageError, withStarted } from './lifetime.ts'
import { type Asked, byName } from './models-by-name.ts'
import {
  codecOption,
  decimal,
  draftOption,
  integer,
  noSpeculationOption,
  peerOption,
  storeOption
} from './options.ts'
import { note } from './output.ts'
import { Progress } from './progress.ts'

interface RunOptions extends Parameters {
  readonly peer: string[]
  readonly store?: string
  readonly dataDir: string
  readonly offline?: boolean
  readonly codec?: CodecChoice
  readonly draft?: string
  readonly speculation: boolean
  readonly maxTokens?: number
  readonly schema?: string
  readonly system?: string
  readonly wait: number
  readonly verbose?: boolean
  readonly json?: boolean
}

/** Of one answer; in a conversation it is what the context has room for. */
const MAX_TOKENS = 256
/** What `/set` changes, too. */
const PARAMETERS = ['max-tokens', 'temperature', 'top-k', 'top-p', 'min-p', 'seed']

export function runCommand(): Command {
  const command = new Command('run')
  return command
    .description('Ask a model that nodes host together; without a prompt, at a terminal, talk to it.')
    .argument(
      '<model>',
      'llama3.2:1b, hf:user/repo:QUANT, the path or address of a GGUF, or an id: its vocabulary is read here, its ' +
        'blocks are computed by the nodes'
    )
    .argument('[prompt]', 'what to ask (default: standard input, or a conversation at a terminal)')
    .addOption(peerOption())
    .option(
      '--max-tokens <count>',
      `longest answer (default: ${MAX_TOKENS}, in a conversation what the context has room for)`,
      integer(1, 2 ** 20)
    )
    .option('--temperature <number>', '0: always the most likely token', decimal(0, 100), 0)
    .option('--top-k <count>', 'draw from the k most likely tokens; 0: off', integer(0, 2 ** 20), 0)
    .option('--top-p <number>', 'draw from the most likely tokens that make p', decimal(0, 1), 1)
    .option('--min-p <number>', "leave out tokens below p times the most likely one's", decimal(0, 1), 0)
    .option('--seed <number>', 'the same seed draws the same answer', integer(0, 2 ** 32 - 1), 0)
    .option('--system <text>', 'a system message')
    .option('--schema <file>', 'a JSON schema: the answer is JSON that it allows')
    .option('--wait <seconds>', 'longest wait for a node that can take over a lost one', integer(0, 3600), 60)
    .addOption(codecOption())
    .addOption(draftOption())
    .addOption(noSpeculationOption())
    .addOption(storeOption())
    .option('--data-dir <folder>', 'where it is kept what this machine has joined', dataFolder())
    .option('-v, --verbose', 'print the chain and its timings')
    .option('--json', 'print one JSON object instead of text')
    .action((name: string, prompt: string | undefined, options: RunOptions) =>
      run(command, name, prompt, options)
    )
}

async function run(
  command: Command,
  name: string,
  prompt: string | undefined,
  options: RunOptions
): Promise<void> {
  const interrupts = new Interrupts()
  const { signal } = interrupts
  try {
    resolveName(name) // before anything is started
    const isTalk = prompt === undefined && process.stdin.isTTY && process.stdout.isTTY && !options.json
    const question = isTalk ? undefined : (prompt ?? (await piped(signal)))
    if (question?.trim() === '') throw new UsageError('No prompt: give one as argument or on standard input.')
    const format = await formatOf(options)
    await withAnswers(name, options, signal, async (answers) => {
      const {
        maxTokens = isTalk ? undefined : MAX_TOKENS,
        temperature,
        topK,
        topP,
        minP,
        seed,
        system
      } = options
      const parameters = { maxTokens, temperature, topK, topP, minP, seed }
      const dialogue = new Dialogue(answers, {
        model: name,
        system,
        parameters,
        format,
        waitMs: options.wait * 1000
      })
      if (question === undefined) await talk(command, dialogue, options, interrupts)
      else await answer(dialogue, question, options, signal)
    })
  } catch (error) {
    if (!signal.aborted) throw error
    process.exitCode = INTERRUPTED
  }
}

/** What standard input has, if it is no terminal. */
async function piped(signal: AbortSignal): Promise<string> {
  return process.stdin.isTTY ? '' : await readAll(addAbortSignal(signal, process.stdin))
}

async function formatOf({ schema: path }: RunOptions): Promise<Format> {
  if (path === undefined) return { kind: 'text' }
  const schema = await readFile(path, 'utf8').then(parseJson, (error: Error) => {
    throw new UsageError(`--schema: ${error.message}`)
  })
  if (typeof schema === 'object' && schema !== null && !Array.isArray(schema))
    return { kind: 'schema', schema: { ...schema } }
  throw new UsageError(`--schema: ${path} is no JSON schema: it has to be a JSON object.`)
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}

/** When there is a chain for the model. */
async function withAnswers(
  name: string,
  options: RunOptions,
  signal: AbortSignal,
  use: (answers: Asked) => Promise<void>
): Promise<void> {
  const progress = new Progress(`looking for ${name}`)
  const node = await consumerNode(options, progress.say)
  const onMissing = (message: string): void => {
    progress.end()
    note(`note: ${message}`)
  }
  try {
    const answers = answersOf(node)
    await withStarted([answers], signal, async () => {
      const init = { waitMs: options.wait * 1000, onProgress: progress.report, onMissing, signal }
      const named = byName(node, answers, init)
      await named.model(name)
      progress.end()
      await use(named)
    })
  } finally {
    progress.end()
    await node.stop()
  }
}

async function answer(
  dialogue: Dialogue,
  question: string,
  { json, verbose }: RunOptions,
  signal: AbortSignal
): Promise<void> {
  const report = await show(dialogue.ask(question, signal), {
    output: json ? undefined : process.stdout,
    note
  })
  if (json) console.log(JSON.stringify(report))
  else if (verbose) for (const line of ['', ...reportInWords(report)]) console.log(line)
}

async function talk(
  command: Command,
  dialogue: Dialogue,
  { dataDir, verbose = false }: RunOptions,
  interrupts: Interrupts
): Promise<void> {
  const { signal } = interrupts
  const { stdin: input, stdout: output } = process
  const lines = await Lines.open({ input, output, historyPath: historyFile(dataDir), signal })
  try {
    note('/help says what can be typed here, Ctrl-D leaves.')
    const options = command.options.filter((option) => PARAMETERS.includes(option.name()))
    const apart = <T>(work: (signal: AbortSignal) => Promise<T>): Promise<T> => interrupts.apart(work)
    const say = (message: string): void => console.error(message)
    await new Repl({ dialogue, lines, output, say, options, verbose, apart, signal }).run()
  } finally {
    lines.close()
  }
}
