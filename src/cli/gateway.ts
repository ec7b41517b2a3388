import { Command } from 'commander'
import { aborted } from '../common/index.ts'
import type { GatewayInit, LogEntry } from '../gateway/index.ts'
import { dataFolder, NodeGateway } from '../node/index.ts'
import { type ConsumerOptions, consumerNode } from './consumer.ts'
import { Lifetime, UsageError, withStarted } from './lifetime.ts'
import {
  API_PORT,
  codecOption,
  collect,
  draftOption,
  integer,
  noSpeculationOption,
  peerOption,
  storeOption
} from './options.ts'
import { mayChat, note } from './output.ts'

interface GatewayOptions extends ConsumerOptions {
  readonly host: string
  readonly port: number
  readonly keys?: string
  readonly anonymous?: boolean
  readonly cors?: readonly string[]
  readonly trustProxy?: readonly string[]
  readonly concurrency: number
  readonly queue: number
  readonly requestsPerMinute: number
  readonly tokensPerMinute: number
  readonly openMetrics?: boolean
  readonly json?: boolean
}

/** Of answers that an address without a key may have at once. */
const ANSWERS_PER_ADDRESS = 2
const LOOPBACK = /^(localhost|127(\.\d+){3}|::1)$/

export function gatewayCommand(): Command {
  return new Command('gateway')
    .description(
      'Answer the public over HTTP, in the words of OpenAI and Anthropic, with what the swarm hosts. It computes ' +
        'nothing itself: "shoal up" does. One line per request goes to standard error, without texts and keys.'
    )
    .option('--host <address>', 'where to listen; 0.0.0.0 or :: for all addresses', '127.0.0.1')
    .option('--port <port>', 'where to listen; 0 for any that is free', integer(0, 65_535), API_PORT)
    .option('--keys <file>', 'ask for keys: those that "shoal keys create --keys FILE" makes')
    .option('--anonymous', 'let anybody ask without a key, within the limits below')
    .option(
      '--cors <origin>',
      'a page that may ask, such as https://chat.example.org, or * (may be given several times)',
      collect
    )
    .option(
      '--trust-proxy <network>',
      'a proxy whose word is taken on who asks, such as 127.0.0.1 or 10.0.0.0/8 (may be given several times)',
      collect
    )
    .option('--concurrency <count>', 'answers at once', integer(1, 10_000), 8)
    .option('--queue <count>', 'requests that wait for that', integer(0, 100_000), 256)
    .option('--requests-per-minute <count>', 'of each address without a key', integer(1, 1e9), 30)
    .option('--tokens-per-minute <count>', 'of each address without a key', integer(1, 1e9), 30_000)
    .option('--open-metrics', 'let anybody read /metrics (default: whoever has a key)')
    .addOption(peerOption())
    .addOption(codecOption())
    .addOption(draftOption())
    .addOption(noSpeculationOption())
    .addOption(storeOption())
    .option('--data-dir <folder>', 'the folder of the node, as "shoal up" was given it', dataFolder())
    .option('--json', 'print one JSON object when ready')
    .action(gateway)
}

async function gateway(options: GatewayOptions): Promise<void> {
  const init = initOf(options)
  const lifetime = new Lifetime()
  const node = await consumerNode(options)
  const served = new NodeGateway(node, init, { log: mayChat() ? log : undefined })
  const serve = async (): Promise<void> => {
    if (options.json) console.log(JSON.stringify({ url: served.url, keys: options.keys !== undefined }))
    else {
      console.log(`OpenAI's clients: base URL ${served.url}/v1`)
      console.log(`Anthropic's clients: base URL ${served.url}`)
      note('Press Ctrl-C to stop.')
    }
    await aborted(lifetime.signal)
  }
  try {
    await withStarted([node, served], lifetime.signal, serve)
  } catch (error) {
    if (!lifetime.signal.aborted) throw error // interrupted while it started: that is how to end it, too
  }
}

function initOf(options: GatewayOptions): GatewayInit {
  const { host, port, keys: keysFile, anonymous, concurrency, queue, openMetrics } = options
  const { requestsPerMinute, tokensPerMinute } = options
  if (!LOOPBACK.test(host) && keysFile === undefined && !anonymous) {
    throw new UsageError(
      `Anybody who reaches ${host} could ask. Say --keys FILE to ask for keys ("shoal keys create" makes them), or ` +
        '--anonymous if that is meant.'
    )
  }
  return {
    ...{ host, port, isPublic: true, keysFile, concurrency, queue, openMetrics: openMetrics ?? false },
    ...{ corsOrigins: options.cors, trustedProxies: options.trustProxy },
    anonymous: anonymous ?? keysFile === undefined,
    addressLimits: { requestsPerMinute, tokensPerMinute, concurrency: ANSWERS_PER_ADDRESS }
  }
}

function log(entry: LogEntry): void {
  console.error(JSON.stringify(entry))
}
