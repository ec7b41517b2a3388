import { Command, Option } from 'commander'
import type { KvType } from '../engine/index.ts'
import { memoryOf } from '../models/index.ts'
import { dataFolder } from '../node/index.ts'
import { type Machine, type Objective, type Plan, type PlannedModel, plan } from '../swarm/index.ts'
import { consumerNode, withLibrary } from './consumer.ts'
import { UsageError, untilInterrupted } from './lifetime.ts'
import { integer, kvTypeOption, peerOption, shortPeer } from './options.ts'
import { EXAMPLE, type Links, readMachines } from './plan-machines.ts'
import { openSwarmOf } from './plan-swarm.ts'

interface PlanOptions {
  readonly machines?: string
  readonly objective: Objective
  readonly context: number
  readonly kvType: KvType
  readonly apply?: boolean
  readonly json?: boolean
  readonly peer: readonly string[]
  readonly dataDir: string
}

/** A private swarm, as a node of it knows it; machines are named by their peer ids. */
export interface PlannedSwarm extends Links {
  readonly machines: readonly Machine[]
  /** Ask a node to host blocks of the model that was planned. */
  assign(machine: string, start: number, end: number): Promise<{ accepted: boolean; message: string }>
  close(): Promise<void>
}

/** How `shoal plan` gets at the swarm. */
export type OpenSwarm = (
  model: PlannedModel & { readonly model: string },
  signal: AbortSignal
) => Promise<PlannedSwarm>

export function planCommand(
  openSwarm: (options: PlanOptions) => Promise<OpenSwarm> = ofThisMachine
): Command {
  return new Command('plan')
    .description(
      'The best split of a model over given machines, by their measured speeds, memories and links.'
    )
    .argument(
      '<model>',
      'llama3.2:1b, hf:user/repo:QUANT, the path or address of a GGUF, or an id: only its sizes are read'
    )
    .option(
      '--machines <file>',
      'JSON with machines and links (default: those of the swarm that this node is in)'
    )
    .addOption(
      new Option('--objective <what>', 'fast answers for one session, or many sessions together')
        .choices(['latency', 'throughput'])
        .default('latency')
    )
    .option('--context <positions>', 'KV positions of each machine', integer(1, 2 ** 24), 4096)
    .addOption(kvTypeOption())
    .option('--apply', 'tell the nodes of a private swarm that take plans ("shoal up --accept-plans")')
    .option('--json', 'print one JSON object')
    .addOption(peerOption())
    .option('--data-dir <folder>', 'where it is kept what this machine has joined', dataFolder())
    .action((name: string, options: PlanOptions) => run(name, options, openSwarm))
}

async function ofThisMachine(options: PlanOptions): Promise<OpenSwarm> {
  return openSwarmOf(await consumerNode(options))
}

async function run(
  name: string,
  options: PlanOptions,
  openSwarm: (options: PlanOptions) => Promise<OpenSwarm>
): Promise<void> {
  const { machines: file, objective, apply } = options
  if (apply && file !== undefined) {
    throw new UsageError('--apply is for the machines of a swarm: leave --machines out.')
  }
  const model = await sizesOf(name, options)
  if (file !== undefined)
    return show(plan({ model, objective, ...(await readMachines(file)) }), options, name)
  const swarm = await (await openSwarm(options))(model, untilInterrupted())
  try {
    if (swarm.machines.length === 0) {
      throw new UsageError(
        `No node of a swarm that could host the model answers. Start some, or name machines with --machines FILE:\n${EXAMPLE}`
      )
    }
    const planned = plan({
      ...{ model, objective, machines: swarm.machines },
      linkMs: (from, to) => swarm.linkMs(from, to),
      consumerMs: (machine) => swarm.consumerMs(machine)
    })
    show(planned, options, name)
    if (apply) await applyTo(swarm, planned)
  } finally {
    await swarm.close()
  }
}

async function sizesOf(
  called: string,
  { kvType, context, dataDir }: PlanOptions
): Promise<PlannedModel & { model: string }> {
  return withLibrary({ dataDir }, async (library) => {
    const model = await library.find(called)
    const { id, name, blockCount } = model
    return { model: id, name, blockCount, ...memoryOf(model, kvType), positions: context, computeBytes: 0 }
  })
}

async function applyTo(swarm: PlannedSwarm, { spans }: Plan): Promise<void> {
  const answers = await Promise.all(
    spans.map(async ({ machine, start, end }) => {
      const failed = ({ message }: Error): { accepted: boolean; message: string } => ({
        accepted: false,
        message
      })
      return { machine, start, end, ...(await swarm.assign(machine, start, end).catch(failed)) }
    })
  )
  for (const { machine, start, end, accepted, message } of answers) {
    const what = `blocks ${start}-${end}`
    console.error(`${shortPeer(machine)} ${accepted ? `loads ${what}` : `does not take ${what}: ${message}`}`)
  }
  if (answers.some(({ accepted }) => !accepted)) process.exitCode = 1
}

function show(planned: Plan, { json, objective, apply }: PlanOptions, called: string): void {
  if (json) {
    console.log(JSON.stringify(planned))
    return
  }
  const { spans, dropped, tokensPerSecond, promptTokensPerSecond } = planned
  const width = Math.max(...spans.map(({ machine }) => machine.length))
  for (const { machine, start, end, decodeMs, memoryBytes } of spans) {
    const blocks = `blocks ${start}-${end}`.padEnd(15)
    const memory = `${(memoryBytes / 1e6).toFixed(0)} MB`.padStart(9)
    console.log(`${machine.padEnd(width)}  ${blocks}${memory}  ${decodeMs.toFixed(1)} ms per token`)
  }
  if (dropped.length > 0) console.log(`not used, as the chain is no faster with them: ${dropped.join(', ')}`)
  const whom = objective === 'latency' ? 'for one session' : 'for many sessions together'
  console.log(
    `${tokensPerSecond.toFixed(1)} tokens per second ${whom}, prompts at ${promptTokensPerSecond.toFixed(0)}`
  )
  if (!apply) console.log(`\nOn each of them: shoal up --model ${called} --blocks START-END`)
}
