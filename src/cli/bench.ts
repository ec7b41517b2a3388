import { Command } from 'commander'
import { resolveName } from '../models/index.ts'
import { type BenchReport, benchmark, dataFolder, type Link, type OwnSpeed } from '../node/index.ts'
import { type ConsumerOptions, consumerNode, libraryInit, speculationOf } from './consumer.ts'
import { INTERRUPTED, untilInterrupted } from './lifetime.ts'
import {
  codecOption,
  draftOption,
  integer,
  noSpeculationOption,
  peerOption,
  shortPeer,
  storeOption
} from './options.ts'
import { note } from './output.ts'
import { Progress } from './progress.ts'
import { plain } from './status.ts'
import { size, table } from './units.ts'

interface BenchOptions extends ConsumerOptions {
  readonly model: string
  readonly tokens: number
  readonly wait: number
  readonly json?: boolean
}

export function benchCommand(): Command {
  return new Command('bench')
    .description(
      'How fast this machine computes, how far other nodes are, and whether an answer comes as fast as predicted, ' +
        'with where its time goes. Where nobody hosts the model, and all of it is here, this machine answers itself.'
    )
    .option('--model <model>', 'what to ask, by any of its names', 'demo')
    .option('--tokens <count>', 'length of the answer', integer(2, 4_096), 96)
    .addOption(peerOption())
    .option('--wait <seconds>', 'longest wait for nodes that host the model', integer(0, 3_600), 10)
    .addOption(draftOption())
    .addOption(codecOption())
    .addOption(noSpeculationOption())
    .addOption(storeOption())
    .option('--data-dir <folder>', 'where it is kept what this machine has joined', dataFolder())
    .option('--json', 'print one JSON object')
    .action(bench)
}

async function bench(options: BenchOptions): Promise<void> {
  const { model, tokens, wait, dataDir, codec, json } = options
  const signal = untilInterrupted()
  resolveName(model) // before anything is started
  const progress = new Progress(`looking for ${model}`)
  const node = await consumerNode(options, progress.say)
  try {
    const report = await benchmark(node, {
      ...{ model, tokens, dataDir, codec, signal, waitMs: wait * 1000 },
      ...{ library: libraryInit(options, progress.say), speculation: speculationOf(options) },
      onStep: (what) => progress.begin(what)
    })
    progress.end()
    if (json) return console.log(JSON.stringify(asJson(report)))
    for (const line of inWords(report)) console.log(line)
    if (report.answer.changes + (report.guessed?.changes ?? 0) > 0)
      note('note: the chain changed meanwhile: ask again for figures that count.')
    if (report.isAlone)
      note('note: nobody else hosts it: this machine answered itself ("shoal up" on others starts nodes).')
  } catch (error) {
    if (!signal.aborted) throw error
    process.exitCode = INTERRUPTED
  } finally {
    progress.end()
    await node.stop()
  }
}

function inWords(report: BenchReport): string[] {
  const { model, own, links } = report
  return [
    ...ownInWords(own),
    '',
    ...(links.length === 0
      ? []
      : [...table([['peer', 'way', 'round trip', 'rate'], ...links.map(linkRow)]), '']),
    `${model.name}, a token of an answer of ${report.answer.tokens} in ${report.codec}, in ms`,
    ...table([
      ['hop', 'peer', 'blocks', 'queue', 'compute', 'wire'],
      ...report.answer.hops.map(({ peer, start, end, queueMs, computeMs, wireMs }, index) => [
        ...[String(index + 1), shortPeer(peer), `${start}-${end}`],
        ...[queueMs, computeMs, wireMs].map(ms)
      ]),
      ['back', '', '', '', '', ms(report.returnMs)],
      ['rest', '', '', '', '', ms(report.restMs)],
      ['all', '', '', '', '', ms(report.answer.tokenMs)]
    ]),
    '',
    speedInWords(report),
    ...guessedInWords(report)
  ].map(plain)
}

function ownInWords(own: OwnSpeed | undefined): string[] {
  if (own === undefined) return ['this machine: not measured, since loading took too long']
  const { model, blocks, tokensPerSecond, promptTokensPerSecond, rows } = own
  return [
    `this machine, ${model} (${blocks} blocks): ${speed(tokensPerSecond)} tokens per second, ` +
      `prompts at ${speed(promptTokensPerSecond)}, ${rows} rows at once`
  ]
}

const WAYS = { direct: 'direct', relay: 'relayed' }

function linkRow({ peer, way, roundTripMs, bytesPerSecond }: Link): string[] {
  return [
    ...[shortPeer(peer), way === undefined ? 'not reached' : WAYS[way]],
    roundTripMs === undefined ? '-' : `${ms(roundTripMs)} ms`,
    bytesPerSecond === undefined ? '-' : `${size(bytesPerSecond)}/s`
  ]
}

function speedInWords({ predictedTokenMs: predictedMs, answer }: BenchReport): string {
  const { tokenMs, firstTokenMs } = answer
  return (
    `${speed(1000 / tokenMs)} tokens per second, first after ${ms(firstTokenMs)} ms; ` +
    `predicted were ${speed(1000 / predictedMs)}, at ${ms(predictedMs)} ms per token`
  )
}

function guessedInWords({ answer, guessed }: BenchReport): string[] {
  if (guessed?.guesses === undefined) return []
  const { sent, right } = guessed.guesses
  const times = (answer.tokenMs / guessed.tokenMs).toFixed(2)
  return [
    `with guesses ahead: ${speed(1000 / guessed.tokenMs)} tokens per second (${times} times), ` +
      `${right} of ${sent} guesses were right`
  ]
}

function speed(value: number): string {
  return value.toFixed(value < 100 ? 1 : 0)
}

function ms(value: number): string {
  return value.toFixed(value < 100 ? 2 : 0)
}

/** docs/CLI.md says what it has. */
function asJson({ model, own, links, codec, ...report }: BenchReport): object {
  const { answer, guessed, isAlone, predictedTokenMs, returnMs, restMs } = report
  return {
    model: { id: model.id, name: model.name, blocks: model.blockCount },
    own:
      own === undefined
        ? null
        : {
            ...{ model: own.model, blocks: own.blocks, rows: own.rows },
            tokens_per_second: round(own.tokensPerSecond),
            prompt_tokens_per_second: round(own.promptTokensPerSecond)
          },
    links: links.map(({ peer, way, roundTripMs, bytesPerSecond }) => ({
      ...{ peer, way: way ?? null, round_trip_ms: round(roundTripMs) },
      bytes_per_second: round(bytesPerSecond)
    })),
    ...{
      codec,
      alone: isAlone,
      tokens: answer.tokens,
      chain_changes: answer.changes + (guessed?.changes ?? 0)
    },
    hops: answer.hops.map(({ peer, start, end, queueMs, computeMs, wireMs }) => ({
      ...{ peer, span: `${start}-${end}` },
      ...{ queue_ms: round(queueMs), compute_ms: round(computeMs), wire_ms: round(wireMs) }
    })),
    ...{ return_ms: round(returnMs), rest_ms: round(restMs) },
    ...{ predicted_ms: round(predictedTokenMs), measured_ms: round(answer.tokenMs) },
    predicted_tokens_per_second: round(1000 / predictedTokenMs),
    tokens_per_second: round(1000 / answer.tokenMs),
    first_token_ms: round(answer.firstTokenMs),
    guessed:
      guessed?.guesses === undefined
        ? null
        : {
            ...{
              tokens_per_second: round(1000 / guessed.tokenMs),
              times: round(answer.tokenMs / guessed.tokenMs)
            },
            ...{ sent: guessed.guesses.sent, right: guessed.guesses.right }
          }
  }
}

function round(value: number | undefined): number | null {
  return value === undefined ? null : Math.round(value * 1000) / 1000
}
