import { join } from 'node:path'
import { Command } from 'commander'
import { aborted, systemClock } from '../common/index.ts'
import { resolveName } from '../models/index.ts'
import type { StageInfo } from '../net/index.ts'
import {
  Control,
  conditionsHere,
  dataFolder,
  type FinishProgress,
  joinPublic,
  Node,
  NodeGateway,
  neighboursFolder,
  readSharingFile
} from '../node/index.ts'
import { libraryInit, speculationOf } from './consumer.ts'
import { sessionCount } from './finish.ts'
import { askToJoin } from './join.ts'
import { INTERRUPTED, Lifetime, UsageError, withStarted } from './lifetime.ts'
import {
  addresses,
  blocksOrAll,
  bytes,
  codecOption,
  collect,
  DEMO_MODEL,
  draftOption,
  integer,
  kvTypeOption,
  noSpeculationOption,
  peerOption,
  storeOption,
  uploadOption
} from './options.ts'
import { nodeReports, note } from './output.ts'
import { apiInit, fixedBy, sayApi, startsSharing, type UpOptions } from './up-options.ts'

export function upCommand(): Command {
  return new Command('up')
    .description(
      'Start a node: join the swarm, host the blocks that it lacks most, and serve whoever asks. Ctrl-C lets running ' +
        'answers move to other nodes or end, two minutes at most; a second Ctrl-C stops at once.'
    )
    .option(
      '--model <model>',
      'a model to host blocks of: llama3.2:1b, hf:user/repo:QUANT, the path or address of a GGUF, or an id (may be ' +
        'given several times; default: the embedded one)',
      collect
    )
    .option(
      '--memory <size>',
      'most memory for weights and KV cache, such as 8GiB; 0 hosts nothing (default: half of what is free)',
      bytes
    )
    .option(
      '--blocks <start-end>',
      'host these blocks, END not included, or "all", whatever the swarm lacks',
      blocksOrAll
    )
    .option('--no-share', 'host nothing before somebody has said yes to it in the page')
    .option('--public', 'join the public swarm, now and from now on')
    .addOption(peerOption())
    .option(
      '--listen <address>',
      'multiaddr to listen on (default: this machine only, or all addresses in a swarm)',
      addresses
    )
    .option('--accept-plans', 'private swarms: host what "shoal plan --apply" says')
    .option('--context <positions>', 'KV positions, shared by all sessions', integer(1, 2 ** 24), 4096)
    .option('--sessions <count>', 'most sessions at once', integer(1, 256), 8)
    .option('--threads <count>', 'threads per batch (default: by the size of the span)', integer(1, 1024))
    .option('--gpu-layers <count>', 'blocks on a GPU (default: all, if there is one)', integer(0, 4096))
    .addOption(kvTypeOption())
    .addOption(uploadOption())
    .option(
      '--disk <size>',
      'most bytes of models in the store, such as 100GB: those used longest ago make room (default: no limit)',
      bytes
    )
    .option(
      '--port <port>',
      'where programs and pages on this machine ask; 0 for any that is free (default: 8642, or any where it is taken)',
      integer(0, 65_535)
    )
    .option('--no-api', 'answer no programs and pages')
    .option('--concurrency <count>', 'their answers at once (default: --sessions)', integer(1, 10_000))
    .option('--queue <count>', 'their requests that wait for that (default: 256)', integer(0, 100_000))
    .addOption(codecOption())
    .addOption(draftOption())
    .addOption(noSpeculationOption())
    .addOption(storeOption())
    .option('--data-dir <folder>', 'where identity and blocks are kept, for one node at a time', dataFolder())
    .option('--json', 'print one JSON object when ready')
    .action(up)
}

async function up(options: UpOptions): Promise<void> {
  const lifetime = new Lifetime()
  const { peer, listen, dataDir, json, upload, disk, offline } = options
  const models = options.model ?? [DEMO_MODEL]
  if (options.blocks !== undefined && options.model?.length !== 1) {
    throw new UsageError('--blocks are those of one model: name it with --model, once.')
  }
  if (options.blocks !== undefined && options.memory !== undefined) {
    throw new UsageError(
      '--memory is for nodes that choose their blocks themselves: leave it or --blocks out.'
    )
  }
  for (const model of models) resolveName(model) // before anything is started
  const { context, sessions, threads, gpuLayers, kvType } = options
  const engine = { context, sessions, threads, gpuLayers, kvType }
  const range = options.blocks === 'all' ? undefined : options.blocks
  if (options.public) await joinPublic(dataDir)
  const joined = await askToJoin(dataDir)
  if (joined === undefined) {
    process.exitCode = INTERRUPTED
    return
  }
  const say = (message: string): void => void (json || note(message))
  const decided = await readSharingFile(dataDir)
  const library = { ...libraryInit(options, console.error), uploadBytesPerSecond: upload, quotaBytes: disk }
  const node = new Node({
    dataDir,
    joined,
    neighbours: neighboursFolder(),
    ...(listen === undefined ? {} : { listen }),
    peers: peer,
    library,
    codec: options.codec,
    speculation: speculationOf(options),
    startsSharing: startsSharing(options, decided),
    acceptPlans: options.acceptPlans ?? false,
    ...(options.blocks === undefined
      ? { contribution: { ...engine, models, memoryBytes: options.memory } }
      : { hosting: { ...engine, model: models[0] as string, blocks: range } }),
    offline,
    ...nodeReports(options),
    onFinish: () => {
      say('asked to leave (shoal finish)')
      lifetime.finish()
    }
  })
  const control = new Control(
    { node, clock: systemClock, conditions: conditionsHere() },
    {
      ...{ dataDir, store: library.folder ?? join(dataDir, 'store'), file: decided, fixed: fixedBy(options) },
      ...{ offline, report: say }
    }
  )
  const api = options.api ? [new NodeGateway(node, apiInit(options), { control })] : []
  const [gateway] = api
  const serve = async (): Promise<void> => {
    const { addresses, peerId } = node.host
    const hosted = node.hosted.map(({ model, name, start, end }) => ({
      model,
      name,
      span: `${start}-${end}`
    }))
    if (json) {
      console.log(JSON.stringify({ peer: peerId, addresses, api: gateway?.url, ...hosted[0] }))
    } else {
      console.log(`node ${peerId}`)
      for (const address of addresses) console.log(`address ${address}`)
      if (gateway !== undefined) sayApi(gateway.url, options, say)
      for (const span of node.hosted) console.log(hostsWhat(span))
      if (node.sharing.state === 'off') say('Nothing is shared until somebody says so in the page.')
      if (gateway !== undefined) console.log(`Chat at ${gateway.url} in a browser.`)
      console.log('Press Ctrl-C to stop; "shoal status" elsewhere says how it does.')
    }
    await aborted(lifetime.signal)
    await lifetime.drain((signal) => node.finish({ signal, onProgress: finishReport(say) }))
  }
  try {
    await withStarted([control, node, ...api], lifetime.signal, serve)
  } catch (error) {
    if (!lifetime.signal.aborted) throw error // interrupted while it started: that is how to end it, too
  }
}

function hostsWhat({ start, end, blockCount, name }: StageInfo): string {
  return `hosts blocks ${start}-${end} of ${blockCount}, ${name}`
}

function finishReport(say: (message: string) => void): (progress: FinishProgress) => void {
  let hint = '; press Ctrl-C again to stop at once'
  return ({ sessions }) => {
    if (sessions > 0) say(`finishing ${sessionCount(sessions)}${hint}`)
    hint = ''
  }
}
