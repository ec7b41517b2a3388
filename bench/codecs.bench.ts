/**
 * Codecs of hidden states: bytes of a row on a real connection (R4), the time to write and read one, and what they cost
 * the demo model's predictions, with a cut after every block. Larger models are there by their width only.
 */
import { existsSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { basename, join, resolve } from 'node:path'
import { parseArgs } from 'node:util'
import { CODEC_LIMITS, type CodecsReport, certifyCodecs, openModel } from '../src/models/index.ts'
import { bytesPerRow, decodeRows, encodeRows, ROW_CODECS, type RowCodec } from '../src/net/index.ts'
import { type Bench, type Figure, median, rounded } from './bench.ts'
import { measureWireLeg } from './legs.ts'

/** The demo's; Llama's of 1B, 8B and 70B. */
const WIDTHS = '128,2048,4096,8192'
const TEXTS = resolve(import.meta.dirname, '../../shared/texts')
const DEMO = resolve(import.meta.dirname, '../models/demo.gguf')
/** Of R4, for a row of d numbers. */
const MOST_BYTES: Readonly<Record<RowCodec, (width: number) => number>> = {
  f32: (width) => 4 * width + 64,
  f16: (width) => 2 * width + 64,
  bf16: (width) => 2 * width + 64,
  q8: (width) => 1.1 * width
}
/** 54 bytes around each row are more than q8's share below. */
const LEAST_WIDTH_OF_Q8 = 1440
const TIMED_ROUNDS = 15
const TIMED_NUMBERS = 1_000_000

type Figures = Record<string, Figure>

export const bench: Bench = {
  name: 'codecs',
  description:
    'codecs of hidden states: R4, time, what they cost (--widths D,D --texts FILE,FILE|none --chunks N --stages N --model FILE)',
  async run({ flags, log }) {
    const { values } = parseArgs({
      args: flags,
      options: {
        widths: { type: 'string', default: WIDTHS },
        texts: { type: 'string', default: `${TEXTS}/wikitext-2-test.txt,${TEXTS}/tinyshakespeare.txt` },
        chunks: { type: 'string', default: '16' },
        stages: { type: 'string', default: '8' },
        model: { type: 'string', default: DEMO }
      }
    })
    const figures: Figures = {}
    for (const width of values.widths.split(',').map(Number)) {
      log(`rows of ${width} numbers`)
      Object.assign(figures, await bytesOnTheWire(width), timesOf(width))
    }
    for (const text of values.texts === 'none' ? [] : values.texts.split(',')) {
      if (existsSync(text)) {
        const options = { chunks: Number(values.chunks), stages: Number(values.stages), log }
        Object.assign(figures, await costsOver(text, values.model, options))
      } else log(`${text} is not there: what codecs cost over it is not measured`)
    }
    return figures
  }
}

async function bytesOnTheWire(width: number): Promise<Figures> {
  const figures: Figures = {}
  for (const codec of ROW_CODECS) {
    const { bytes } = await measureWireLeg(width, codec)
    const isHeld = codec !== 'q8' || width >= LEAST_WIDTH_OF_Q8
    figures[`R4 ${codec}, d = ${width}`] = {
      value: bytes,
      ...(isHeld ? { target: `<= ${MOST_BYTES[codec](width)}` } : {}),
      unit: 'bytes per row and boundary',
      note: `${rounded(bytes / width)} d; what the socket is given for a frame of one row`
    }
  }
  return figures
}

/** Interleaved, since the machine's speed changes. */
function timesOf(width: number): Figures {
  const row = Float32Array.from({ length: width }, (_, at) => Math.sin(at) * (at % 100 === 0 ? 500 : 10))
  const read = new Float32Array(width)
  const times = new Map(
    ROW_CODECS.map((codec) => [codec, { encode: [] as number[], decode: [] as number[] }])
  )
  const count = Math.ceil(TIMED_NUMBERS / width)
  for (let round = -1; round < TIMED_ROUNDS; round++) {
    for (const [codec, { encode, decode }] of times) {
      const bytes = new Uint8Array(bytesPerRow(codec, width))
      const encoded = microsecondsOf(count, () => encodeRows(codec, row, width, bytes))
      const decoded = microsecondsOf(count, () => decodeRows(codec, bytes, width, read))
      if (round < 0) continue // the first only compiles
      encode.push(encoded)
      decode.push(decoded)
    }
  }
  const figures: Figures = {}
  for (const [codec, both] of times) {
    for (const [what, runs] of Object.entries(both)) {
      const value = median(runs)
      const note = `${rounded((4 * width) / value / 1000)} GB/s of f32`
      figures[`${what} ${codec}, d = ${width}`] = {
        ...{ value: rounded(value), runs: runs.map(rounded), unit: 'µs per row', note }
      }
    }
  }
  return figures
}

function microsecondsOf(count: number, work: () => void): number {
  const start = performance.now()
  for (let index = 0; index < count; index++) work()
  return ((performance.now() - start) * 1000) / count
}

async function costsOver(
  text: string,
  path: string,
  { chunks, stages, log }: { chunks: number; stages: number; log: (message: string) => void }
): Promise<Figures> {
  log(`${basename(path)} over ${basename(text)}`)
  const folder = await mkdtemp(join(tmpdir(), 'shoal-codecs-'))
  const model = await openModel(path)
  try {
    const report = await certifyCodecs(model, { folder, text, chunks, stages, onProgress: log })
    return costFigures(report, basename(text, '.txt'))
  } finally {
    await model.close()
    await rm(folder, { recursive: true, force: true })
  }
}

function costFigures({ codecs, cuts, scored, perplexity, largest }: CodecsReport, text: string): Figures {
  const figures: Figures = {}
  for (const { codec, certified, costs } of codecs) {
    if (costs === undefined) continue
    const { divergence, sameTop, perplexityRatio } = costs
    figures[`${codec} over ${text}: divergence`] = {
      value: divergence.value,
      target: `<= ${CODEC_LIMITS.divergence}`,
      unit: 'nats per token',
      note: `± ${rounded(divergence.error)}; 99 % ${rounded(divergence.p99)}, largest ${rounded(divergence.max)}; ${certified ? '' : 'not '}certified`
    }
    figures[`${codec} over ${text}: same likeliest token`] = {
      value: rounded(100 * sameTop),
      target: `>= ${100 * CODEC_LIMITS.sameTop}`,
      unit: '%',
      note: `of ${scored} tokens, cut at ${cuts.join(', ')}`
    }
    figures[`${codec} over ${text}: perplexity`] = {
      value: perplexityRatio,
      target: `<= ${CODEC_LIMITS.perplexityRatio}`,
      unit: '× that in f32',
      note: `f32: ${rounded(perplexity)}; numbers up to ${rounded(largest)}`
    }
  }
  return figures
}
