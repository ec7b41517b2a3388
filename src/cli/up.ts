import { Command } from 'commander'
import { aborted } from '../common/index.ts'
import type { KvType } from '../engine/index.ts'
import { dataFolder, type FinishProgress, Node } from '../node/index.ts'
import { sessionCount } from './finish.ts'
import { Lifetime, UsageError, withStarted } from './lifetime.ts'
import { addresses, blocks, integer, kvTypeOption, peerOption } from './options.ts'

interface UpOptions {
  readonly model?: string
  readonly blocks?: { start: number; end: number }
  readonly peer: string[]
  readonly listen?: string[]
  readonly context: number
  readonly sessions: number
  readonly threads?: number
  readonly gpuLayers?: number
  readonly kvType: KvType
  readonly dataDir: string
  readonly json?: boolean
}

/** Only this machine can connect until swarms are joined on purpose. */
const LISTEN = '/ip4/127.0.0.1/tcp/0'

export function upCommand(): Command {
  return new Command('up')
    .description(
      'Start a node: host blocks of a model and serve whoever asks. Ctrl-C lets running answers move to other ' +
        'nodes or end, two minutes at most; a second Ctrl-C stops at once.'
    )
    .option('--model <file>', 'the GGUF file to host blocks of (its first part, if it has several)')
    .option('--blocks <start-end>', 'the blocks to host, END not included (default: all)', blocks)
    .addOption(peerOption())
    .option('--listen <address>', `multiaddr to listen on (default: ${LISTEN})`, addresses)
    .option('--context <positions>', 'KV positions, shared by all sessions', integer(1, 2 ** 24), 4096)
    .option('--sessions <count>', 'most sessions at once', integer(1, 256), 8)
    .option('--threads <count>', 'threads per batch (default: by the size of the span)', integer(1, 1024))
    .option('--gpu-layers <count>', 'blocks on a GPU (default: all, if there is one)', integer(0, 4096))
    .addOption(kvTypeOption())
    .option('--data-dir <folder>', 'where identity and blocks are kept, for one node at a time', dataFolder())
    .option('--json', 'print one JSON object when ready')
    .action(up)
}

async function up(options: UpOptions): Promise<void> {
  const lifetime = new Lifetime()
  const { model, peer, listen, dataDir, json } = options
  if (model === undefined && options.blocks !== undefined) throw new UsageError('--blocks needs --model.')
  const { context, sessions, threads, gpuLayers, kvType } = options
  const say = (message: string): void => void (json || console.error(message))
  const node = new Node({
    dataDir,
    listen: listen ?? [LISTEN],
    peers: peer,
    onProgress: (message, level) => {
      if (level === 'warning') console.error(`warning: ${message}`)
      else say(message)
    },
    onFinish: () => {
      say('asked to leave (shoal finish)')
      lifetime.finish()
    },
    ...(model === undefined
      ? {}
      : { hosting: { model, context, sessions, threads, gpuLayers, kvType, blocks: options.blocks } })
  })
  const serve = async (): Promise<void> => {
    const { addresses, peerId } = node.host
    const info = node.stage?.info
    const span = info === undefined ? undefined : `${info.start}-${info.end}`
    if (json) {
      console.log(JSON.stringify({ peer: peerId, addresses, model: info?.model, name: info?.name, span }))
    } else {
      console.log(`node ${peerId}`)
      for (const address of addresses) console.log(`address ${address}`)
      if (info !== undefined) console.log(`hosts blocks ${span} of ${info.blockCount}, ${info.name}`)
      console.log('Press Ctrl-C to stop.')
    }
    await aborted(lifetime.signal)
    await lifetime.drain((signal) => node.finish({ signal, onProgress: finishReport(say) }))
  }
  try {
    await withStarted([node], lifetime.signal, serve)
  } catch (error) {
    if (!lifetime.signal.aborted) throw error // interrupted while it started: that is how to end it, too
  }
}

function finishReport(say: (message: string) => void): (progress: FinishProgress) => void {
  let hint = '; press Ctrl-C again to stop at once'
  return ({ sessions }) => {
    if (sessions > 0) say(`finishing ${sessionCount(sessions)}${hint}`)
    hint = ''
  }
}
