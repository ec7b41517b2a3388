import { setTimeout as delay } from 'node:timers/promises'
import { Command } from 'commander'
import { ShoalError } from '../common/index.ts'
import { judgeReachability, ownAddresses, type Reachability } from '../net/index.ts'
import { dataFolder, Node, type NodeStatus, readSwarmFile } from '../node/index.ts'
import { INTERRUPTED, UsageError, untilInterrupted, withStarted } from './lifetime.ts'
import { integer, peerOption } from './options.ts'
import { note } from './output.ts'
import { askStatus } from './status.ts'

interface NetcheckOptions {
  readonly peer: string[]
  readonly wait: number
  readonly dataDir: string
  readonly json?: boolean
  readonly offline?: boolean
}

/** What of a status tells whether others reach the node. */
type Facts = Pick<NodeStatus, 'swarm' | 'addresses' | 'peers' | 'uptimeSeconds'>

const NOTHING_JOINED: Facts = { swarm: { kind: 'local' }, addresses: [], peers: [], uptimeSeconds: 0 }
/** How often it looks whether somebody has come through. */
const LOOK_MS = 500

export function netcheckCommand(): Command {
  return new Command('netcheck')
    .description(
      'Whether others can reach the node of this machine, why, and what to do about it. Where none runs, one is ' +
        'started for the time of the check. Nothing is dialled that was not joined.'
    )
    .addOption(peerOption())
    .option('--wait <seconds>', 'time for others to try, since the node has started', integer(0, 3600), 20)
    .option('--data-dir <folder>', 'the folder of the node, as "shoal up" was given it', dataFolder())
    .option('--json', 'print one JSON object: status, why, advice, addresses, peers')
    .action(netcheck)
}

async function netcheck(options: NetcheckOptions): Promise<void> {
  if (options.offline) throw new UsageError('Others have to be asked for that: leave --offline out.')
  const signal = untilInterrupted()
  try {
    const facts = await gather(options, signal)
    const judged = judge(facts)
    if (options.json) {
      console.log(JSON.stringify({ ...judged, addresses: facts.addresses, peers: facts.peers.length }))
    } else {
      console.log(`${judged.status}: ${judged.why}`)
      if (judged.advice !== undefined) console.log(judged.advice)
      for (const address of facts.addresses) console.log(`address ${address}`)
    }
    if (judged.status === 'blocked') process.exitCode = 1
  } catch (error) {
    if (!signal.aborted) throw error
    process.exitCode = INTERRUPTED
  }
}

/** Of the node that runs, of one that does so for this, or of none where nothing has been joined. */
async function gather(
  { dataDir, peer: peers, wait, json }: NetcheckOptions,
  signal: AbortSignal
): Promise<Facts> {
  const asked = (): Promise<Facts> => askStatus(dataDir, signal)
  if (await isRunning(dataDir, signal)) return settled(asked, wait, signal)
  const joined = await readSwarmFile(dataDir)
  if (joined.kind === 'local') return NOTHING_JOINED
  if (!json) note(`No node runs here. Starting one, for ${wait} seconds at most.`)
  const node = new Node({ dataDir, joined, peers, ephemeral: true })
  return withStarted([node], signal, () => settled(() => node.status(), wait, signal))
}

async function isRunning(dataDir: string, signal: AbortSignal): Promise<boolean> {
  try {
    await askStatus(dataDir, signal)
    return true
  } catch (error) {
    if (error instanceof ShoalError && error.code === 'NOT_RUNNING') return false
    throw error
  }
}

/** When others reach the node, or have had the time to try. */
async function settled(look: () => Promise<Facts>, wait: number, signal: AbortSignal): Promise<Facts> {
  for (;;) {
    const facts = await look()
    const { status } = judge(facts)
    if (status === 'reachable' || status === 'local' || facts.uptimeSeconds >= wait) return facts
    await delay(LOOK_MS, undefined, { signal })
  }
}

function judge({ swarm, addresses, peers }: Facts): Reachability {
  return judgeReachability({
    ...{ joined: swarm.kind !== 'local', addresses, interfaces: ownAddresses() },
    peers: peers.map((peer) => peer.addresses)
  })
}
