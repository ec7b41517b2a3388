/**
 * A node behind its gateway, over HTTP: R1 against bare llama-server (or, where none is given, against the engine
 * alone), time to first token, and what 200 clients at once and 1,000 too many see.
 */
import { mkdir, mkdtemp, rm } from 'node:fs/promises'
import { Agent } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { LlamaEngine } from '../src/engine/index.ts'
import { randomOf } from '../test/models/random.ts'
import { type Bench, type Figure, median, rounded } from './bench.ts'
import { DEMO } from './demo.ts'
import { measureJson } from './gateway-json.ts'
import { memoryOf, type Server, type ServerInit, startLlama, startShoal, stop } from './gateway-servers.ts'
import { ask, type Streamed } from './http-client.ts'
import { writeShape } from './models.ts'

const TOKENS = 64
const PROMPT_WORDS = 40
const LLAMA_PORT = 50_480
const CLIENTS = 200
const TOO_MANY = 1_000
const SESSIONS = CLIENTS
const QUEUE = 256
/** As many as use a node of one's own, at most. */
const FEW = 16
const FEW_SECONDS = 10

export const bench: Bench = {
  name: 'gateway',
  description:
    'R1, time to first token, 200 clients at once (--llama FOLDER --runs N --threads N --seconds N --only r1|json|load)',
  async run({ flags, log }) {
    const { values } = parseArgs({
      args: flags,
      options: {
        llama: { type: 'string' },
        runs: { type: 'string', default: '9' },
        threads: { type: 'string', default: '1' },
        seconds: { type: 'string', default: '60' },
        only: { type: 'string', default: '' }
      }
    })
    const is = (part: string): boolean => values.only === '' || values.only === part
    const folder = await mkdtemp(join(tmpdir(), 'shoal-gateway-'))
    try {
      const r1 = { llama: values.llama, runs: Number(values.runs), threads: Number(values.threads) }
      return {
        ...(is('r1') ? await measureR1({ folder, log, ...r1 }) : {}),
        ...(is('json') ? await measureJson(folder) : {}),
        ...(is('load') ? await measureLoad({ folder, log, seconds: Number(values.seconds) }) : {})
      }
    } finally {
      await rm(folder, { recursive: true, force: true })
    }
  }
}

interface R1Init {
  readonly folder: string
  readonly llama: string | undefined
  readonly runs: number
  readonly threads: number
  readonly log: (message: string) => void
}

interface Speed {
  readonly rate: number
  readonly firstMs: number
}

async function measureR1({ folder, llama, runs, threads, log }: R1Init): Promise<Record<string, Figure>> {
  const cache = join(tmpdir(), 'shoal-bench')
  await mkdir(cache, { recursive: true })
  log('writing the model (once)')
  const model = await writeShape('1b', 'Q4_0', cache)
  const init: ServerInit = { model, threads, context: 4096, sessions: 1 }
  const shoal = await startShoal(folder, init)
  const other =
    llama === undefined
      ? await engineAlone(init)
      : await serverAlone(await startLlama(llama, LLAMA_PORT, init))
  const random = randomOf('gateway prompts')
  const ours: Speed[] = []
  const theirs: Speed[] = []
  try {
    for (let run = -1; run < runs; run++) {
      // No prompt begins like another: neither side has computed any of it.
      const prompt = Array.from({ length: PROMPT_WORDS }, () => String(Math.floor(1000 * random()))).join(' ')
      const both = [await speedOf(shoal, prompt), await other.speed(prompt)] as const
      log(
        both
          .map(({ rate, firstMs }) => `${rate.toFixed(2)} tok/s, first ${firstMs.toFixed(0)} ms`)
          .join(' | ')
      )
      if (run < 0) continue // warm-up
      ours.push(both[0])
      theirs.push(both[1])
    }
  } finally {
    await stop(shoal)
    await other.stop()
  }
  const ratios = ours.map(({ rate }, run) => rate / (theirs[run] as Speed).rate)
  const added = ours.map(({ firstMs }, run) => firstMs - (theirs[run] as Speed).firstMs)
  const against = llama === undefined ? 'the engine alone' : 'llama-server'
  return {
    R1: {
      ...{ value: rounded(median(ratios)), target: '>= 0.98', unit: 'ratio', runs: ratios.map(rounded) },
      note: `against ${against}, ${threads} thread(s), ${rounded(median(theirs.map(({ rate }) => rate)))} tok/s alone`
    },
    first_token_added: {
      ...{ value: rounded(median(added)), target: '<= 5', unit: 'ms', runs: added.map(rounded) },
      note: `beyond ${against}'s ${rounded(median(theirs.map(({ firstMs }) => firstMs)))} ms`
    }
  }
}

async function speedOf({ url, model }: Server, prompt: string): Promise<Speed> {
  const body = { model, prompt, max_tokens: TOKENS, temperature: 0, cache_prompt: false }
  const { tokens, times, firstMs } = await ask(url, body)
  const seconds = ((times.at(-1) ?? 0) - (times[0] ?? 0)) / 1000
  return { rate: (tokens - 1) / seconds, firstMs }
}

interface Alone {
  speed(prompt: string): Promise<Speed>
  stop(): Promise<void>
}

async function serverAlone(server: Server): Promise<Alone> {
  return { speed: (prompt) => speedOf(server, prompt), stop: () => stop(server) }
}

async function engineAlone({ model, threads, context }: ServerInit): Promise<Alone> {
  const engine = new LlamaEngine({ files: [model], threads, context, sequences: 1, gpuLayers: 0 })
  await engine.start()
  return {
    async speed(prompt) {
      const startedAt = performance.now()
      await engine.drop(0)
      await engine.setSampler(0, { temperature: 0, seed: 0 })
      let tokens = await engine.tokenize(prompt, { addSpecial: true, parseSpecial: true })
      let position = 0
      const times: number[] = []
      for (let count = 0; count < TOKENS; count++) {
        const { groups } = await engine.run([{ sequence: 0, position, tokens, output: 'sample-last' }])
        times.push(performance.now())
        position += tokens.length
        tokens = groups[0]?.sampled as Int32Array
      }
      const [first = 0, last = 0] = [times[0], times.at(-1)]
      return { rate: ((TOKENS - 1) * 1000) / (last - first), firstMs: first - startedAt }
    },
    stop: () => engine.stop()
  }
}

interface LoadInit {
  readonly folder: string
  readonly seconds: number
  readonly log: (message: string) => void
}

async function measureLoad({ folder, seconds, log }: LoadInit): Promise<Record<string, Figure>> {
  const server = await startShoal(join(folder, 'load'), {
    ...{ model: DEMO, threads: 1, context: 131_072, sessions: SESSIONS },
    flags: ['--concurrency', String(SESSIONS), '--queue', String(QUEUE)]
  })
  const agent = new Agent({ keepAlive: true, maxSockets: Number.POSITIVE_INFINITY })
  try {
    const begun = await delays(server)
    await crowd(server, agent, FEW, FEW_SECONDS, log)
    const few = await delays(server)
    const load = await crowd(server, agent, CLIENTS, seconds, log)
    const many = await delays(server)
    return {
      ...figuresOf(load),
      [`token_delay_p99_${FEW}`]: delayFigure(begun, few, FEW),
      [`token_delay_p99_${CLIENTS}`]: delayFigure(few, many, CLIENTS),
      ...(await measureTooMany(server, agent, log))
    }
  } finally {
    agent.destroy()
    await stop(server)
  }
}

interface Crowd {
  readonly seconds: number
  /** Per client. */
  readonly tokens: readonly number[]
  readonly errors: number
  /** MiB, over time. */
  readonly memory: readonly number[]
}

/** Each client asks again as soon as its answer has ended. */
async function crowd(
  server: Server,
  agent: Agent,
  clients: number,
  seconds: number,
  log: LoadInit['log']
): Promise<Crowd> {
  const tokens = new Array<number>(clients).fill(0)
  let errors = 0
  const memory: number[] = []
  const end = performance.now() + seconds * 1000
  const client = async (index: number): Promise<void> => {
    for (let turn = 0; performance.now() < end; turn++) {
      const prompt = `Story ${index} ${turn}: Once upon a time`
      const body = { model: server.model, prompt, max_tokens: 100, temperature: 0.8, seed: index }
      const onText = (): void => {
        tokens[index] = (tokens[index] ?? 0) + 1
      }
      const { isWhole } = await ask(server.url, body, { agent, onText }).catch(() => FAILED)
      if (!isWhole) errors += 1
    }
  }
  const watching = setInterval(async () => {
    memory.push(await memoryOf(server))
    const sum = tokens.reduce((total, count) => total + count, 0)
    log(`${sum} pieces of text, ${errors} errors, ${memory.at(-1)?.toFixed(0)} MiB`)
  }, 5_000)
  await Promise.all(tokens.map((_, index) => client(index)))
  clearInterval(watching)
  return { seconds, tokens, errors, memory }
}

const FAILED: Streamed = {
  ...{ status: 0, retryAfter: undefined, times: [], firstMs: Number.NaN, tokens: 0, isWhole: false }
}

function figuresOf({ seconds, tokens, errors, memory }: Crowd): Record<string, Figure> {
  const total = tokens.reduce((sum, count) => sum + count, 0)
  const third = Math.max(1, Math.floor(memory.length / 3))
  const growth = median(memory.slice(-third)) / median(memory.slice(third, 2 * third))
  return {
    load_errors: { value: errors, target: '0', unit: 'answers', note: `${CLIENTS} clients, ${seconds} s` },
    load_rate: { value: rounded(total / seconds), unit: 'pieces of text per second, all clients' },
    load_fairness: {
      ...{ value: rounded(Math.min(...tokens) / median(tokens)), target: '>= 0.5', unit: 'ratio' },
      note: 'what the client with least got, of the median'
    },
    load_memory_growth: {
      ...{ value: rounded(growth), target: '<= 1.1', unit: 'ratio', runs: memory.map(rounded) },
      note: 'last third against the one before; runs: MiB every 5 s, engines included'
    }
  }
}

/** Of what came between two readings: 99 % of the tokens were told within so many milliseconds, a bucket's upper end. */
function delayFigure(before: Delays, after: Delays, clients: number): Figure {
  const counts = [...after].map(([bound, count]) => [bound, count - (before.get(bound) ?? 0)] as const)
  const all = counts.at(-1)?.[1] ?? 0
  const [bound] = counts.find(([, count]) => count >= 0.99 * all) ?? [Number.NaN]
  const [middle] = counts.find(([, count]) => count >= 0.5 * all) ?? [Number.NaN]
  const what = 'from the token at the consumer to its bytes at the socket'
  const note = `${clients} clients, ${all} tokens, ${what}; half within ${1000 * middle} ms (ends of a histogram's buckets)`
  return { value: 1000 * bound, target: '< 5', unit: 'ms', note }
}

/** By seconds: how many tokens were told within them, since the gateway started. */
type Delays = ReadonlyMap<number, number>

async function delays({ url }: Server): Promise<Delays> {
  const text = await fetch(`${url}/metrics`).then((response) => response.text())
  const buckets = text.matchAll(/shoal_gateway_token_delay_seconds_bucket\{le="([^"]+)"\} (\d+)/g)
  return new Map(
    [...buckets].map(([, bound, count]) => [
      bound === '+Inf' ? Number.POSITIVE_INFINITY : Number(bound),
      Number(count)
    ])
  )
}

/** Beyond the places and the queue, all at once. */
async function measureTooMany(
  server: Server,
  agent: Agent,
  log: LoadInit['log']
): Promise<Record<string, Figure>> {
  const all = await Promise.all(
    Array.from({ length: TOO_MANY + SESSIONS + QUEUE }, (_, index) => {
      const body = { model: server.model, prompt: `Story ${index}: `, max_tokens: 50, temperature: 0.8 }
      return ask(server.url, body, { agent }).catch(() => FAILED)
    })
  )
  const refused = all.filter(({ status, retryAfter }) => status === 503 && Number(retryAfter) > 0).length
  const whole = all.filter(({ status, isWhole }) => status === 200 && isWhole).length
  log(`${whole} answered, ${refused} refused, ${all.length - whole - refused} otherwise`)
  return {
    overload_refused: {
      value: refused,
      target: 'about 1000',
      unit: `of ${TOO_MANY + SESSIONS + QUEUE} clients at once: 503 with Retry-After`
    },
    overload_failed: { value: all.length - whole - refused, target: '0', unit: 'clients' }
  }
}
