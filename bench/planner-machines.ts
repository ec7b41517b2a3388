/**
 * Three machines with every stage of a short model that a split of it may need, all in this process but for the engines.
 * One machine is slow: it is given the time of the others' engines several times over. Only one split runs at a time, so
 * that machines can share engines: each stage is loaded once, not once per machine.
 */
import { join } from 'node:path'
import { type Engine, LlamaEngine } from '../src/engine/index.ts'
import { type ModelFile, memoryOf, openModel, writeSpan } from '../src/models/index.ts'
import { createHost, type Host } from '../src/net/index.ts'
import { measureSpeed, Stage, StageServer } from '../src/stage/index.ts'
import type { ChainHop, PlannedModel } from '../src/swarm/index.ts'

const CONTEXT = 256
const PROFILE = { kvTypeK: 'f16', kvTypeV: 'f16', flashAttention: true, codec: 'f32', longContext: false }
const LOOPBACK = '/ip4/127.0.0.1/tcp/0'

export interface BenchMachine {
  readonly name: string
  readonly host: Host
  readonly stages: Stage[]
}

interface Range {
  readonly start: number
  readonly end: number
}

export interface Machines {
  readonly model: PlannedModel
  readonly machines: readonly BenchMachine[]
  /** Milliseconds per row in the first blocks, by machine, as placement measures them. */
  speedOf(machine: BenchMachine): Promise<number>
  hop(name: string, range: Range): ChainHop
  stop(): Promise<void>
}

export async function startMachines(init: {
  readonly path: string
  readonly folder: string
  readonly threads: number
  /** Most blocks that a machine holds. */
  readonly mostBlocks: number
  /** By name, how many times longer a machine takes than the engine does. */
  readonly slowness: Readonly<Record<string, number>>
  /** Milliseconds per block that the others take, at least: for measuring while other work disturbs the engines. */
  readonly paceMs: number
}): Promise<Machines> {
  const { path, slowness, mostBlocks, paceMs } = init
  const model = await openModel(path)
  const { blockCount } = model
  const engines: { range: Range; engine: Engine }[] = []
  const machines: BenchMachine[] = []
  const stop = async (): Promise<void> => {
    await Promise.all(machines.map(({ host }) => host.stop()))
    await Promise.all(engines.map(({ engine }) => engine.stop()))
  }
  try {
    for (const range of rangesOf(blockCount, mostBlocks)) {
      const engine = await load(model, range, init)
      engines.push({ range, engine })
    }
    for (const [name, times] of Object.entries(slowness))
      machines.push(await startMachine({ name, times, paceMs }, model, engines))
  } catch (error) {
    await stop()
    throw error
  } finally {
    await model.close()
  }
  return {
    model: { name: model.name, blockCount, ...memoryOf(model, 'f16'), positions: CONTEXT, computeBytes: 0 },
    machines,
    stop,
    speedOf: async ({ stages }) => {
      const [first] = stages
      const { decodeMicroseconds } = await measureSpeed((first as Stage).engine)
      return decodeMicroseconds / 1000 / Math.min(mostBlocks, blockCount)
    },
    hop(name, { start, end }) {
      const { host, stages } = machines.find((machine) => machine.name === name) as BenchMachine
      const isIt = ({ info }: Stage): boolean => info.start === start && info.head === (end === blockCount)
      const { info } = stages.find(isIt) as Stage
      return { peer: host.peerId, addresses: host.addresses, stage: info, start, end }
    }
  }
}

/** A stage may be left after any block, but for one with the head. */
function rangesOf(blockCount: number, mostBlocks: number): Range[] {
  const starts = Array.from({ length: blockCount }, (_, start) => start)
  const inner = starts
    .slice(0, -1)
    .map((start) => ({ start, end: Math.min(start + mostBlocks, blockCount - 1) }))
  const tails = starts.slice(-mostBlocks).map((start) => ({ start, end: blockCount }))
  return [...inner, ...tails]
}

async function load(
  model: ModelFile,
  range: Range,
  { folder, threads }: { readonly folder: string; readonly threads: number }
): Promise<Engine> {
  const { files, embedding } = await writeSpan(model, range, join(folder, 'spans'))
  const engine = new LlamaEngine({
    ...{ files, context: CONTEXT, sequences: 1, threads, gpuLayers: 0 },
    ...(embedding === undefined ? {} : { embedding })
  })
  await engine.start()
  return engine
}

async function startMachine(
  { name, times, paceMs }: { readonly name: string; readonly times: number; readonly paceMs: number },
  { id: model, architecture, blockCount, name: label }: ModelFile,
  engines: readonly { range: Range; engine: Engine }[]
): Promise<BenchMachine> {
  const host = createHost({ identity: { ephemeral: true }, listen: [LOOPBACK] })
  const server = new StageServer({ host })
  const stages: Stage[] = []
  for (const { range, engine } of engines) {
    const init = { ...{ model, name: label, architecture, blockCount, profile: PROFILE }, ...range }
    const stage = new Stage({ engine: slowed(engine, times, paceMs) }, init)
    await stage.start()
    server.add(stage)
    stages.push(stage)
  }
  host.serve({
    info: () => ({ version: '0', stages: server.infos, addresses: host.addresses, peers: [] }),
    control: (stream) => server.control(stream),
    data: (ticket, stream) => server.data(ticket, stream)
  })
  await host.start()
  return { name, host, stages }
}

/** Takes `times` as long for each batch as the engine did, or as the pace of its blocks is: the rest is slept. */
function slowed(engine: Engine, times: number, paceMs: number): Engine {
  const run: Engine['run'] = async (groups) => {
    const started = performance.now()
    const result = await engine.run(groups)
    const tookMs = performance.now() - started
    const blocks = (groups[0]?.leaveAfter ?? engine.description.blocks - 1) + 1
    const sleepMs = times * Math.max(tookMs, paceMs * blocks) - tookMs
    if (sleepMs > 0) await new Promise((resolve) => setTimeout(resolve, sleepMs))
    return { ...result, computeMs: result.computeMs + Math.max(0, sleepMs) }
  }
  return new Proxy(engine, {
    get(target, key) {
      if (key === 'run') return run
      const value: unknown = Reflect.get(target, key, target)
      return typeof value === 'function' ? value.bind(target) : value
    }
  })
}
