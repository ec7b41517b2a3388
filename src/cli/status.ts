import { Command } from 'commander'
import { ShoalError } from '../common/index.ts'
import { askNode, dataFolder, type ModelStatus, type NodeStatus } from '../node/index.ts'
import { untilInterrupted } from './lifetime.ts'
import { shortPeer } from './options.ts'
import { note } from './output.ts'

/** A node pings its peers first, for a second at most. */
const ANSWER_MS = 10_000

interface StatusOptions {
  readonly dataDir: string
  readonly json?: boolean
}

export function statusCommand(): Command {
  return new Command('status')
    .description('What the node of this machine hosts, whom it knows, and what it waits for.')
    .option('--data-dir <folder>', 'the folder of the node, as "shoal up" was given it', dataFolder())
    .option('--json', 'print one JSON object')
    .action(status)
}

export function peersCommand(): Command {
  return new Command('peers')
    .description('The nodes that the node of this machine is connected to.')
    .option('--data-dir <folder>', 'the folder of the node, as "shoal up" was given it', dataFolder())
    .option('--json', 'print a JSON array')
    .action(peers)
}

async function status({ dataDir, json }: StatusOptions): Promise<void> {
  const answer = await askStatus(dataDir, untilInterrupted())
  if (json) console.log(JSON.stringify(answer))
  else console.log(statusInWords(answer).join('\n'))
}

async function peers({ dataDir, json }: StatusOptions): Promise<void> {
  const { peers } = await askStatus(dataDir, untilInterrupted())
  if (json) return console.log(JSON.stringify(peers))
  for (const { peer, addresses, rttMs } of peers) {
    const rtt = rttMs === undefined ? '' : `  ${rttMs.toFixed(1)} ms`
    console.log(`${peer}${rtt}  ${addresses[0] ?? ''}`.trimEnd())
  }
  if (peers.length === 0) note('No peers. "shoal doctor" says why, and what to do.')
}

/** Throws a ShoalError: NOT_RUNNING, SILENT, or REFUSED by a node of another version; or the signal's reason. */
export async function askStatus(dataDir: string, signal: AbortSignal): Promise<NodeStatus> {
  const late = AbortSignal.timeout(ANSWER_MS)
  try {
    for await (const answer of askNode(dataDir, 'status', AbortSignal.any([signal, late]))) return answer
  } catch (error) {
    if (!late.aborted) throw error
    const advice = 'It may be stuck: end its process (Ctrl-C), and start it again.'
    throw new ShoalError('SILENT', `The node in ${dataDir} does not answer. ${advice}`)
  }
  throw new ShoalError('SILENT', `The node in ${dataDir} has just left.`)
}

export function statusInWords(status: NodeStatus): string[] {
  const {
    peer,
    version,
    uptimeSeconds,
    peers,
    sessions,
    hosting,
    placement,
    models,
    join,
    drafts = []
  } = status
  const spans = hosting.map(
    ({ start, end, blockCount, name }) => `hosts blocks ${start}-${end} of ${blockCount}, ${name}`
  )
  const asked = join.filter(({ state }) => state !== 'off')
  return [
    `node ${shortPeer(peer)}, version ${version}, up for ${duration(uptimeSeconds)}`,
    swarmInWords(status),
    ...(spans.length === 0 ? ['hosts nothing'] : spans),
    ...(placement === '' ? [] : [`now: ${placement}`]),
    `${count(peers.length, 'peer')}, ${count(sessions, 'session')}`,
    ...models.map(modelInWords),
    ...drafts.map((name) => `${name} writes ahead for others`),
    ...asked.flatMap((step) => [
      stepInWords(step),
      ...(step.advice === undefined ? [] : [`  -> ${step.advice}`])
    ])
  ].map(plain)
}

/** Where others were looked for, as a person would say it. */
const SOURCES: Readonly<Record<string, string>> = {
  given: 'given addresses',
  remembered: 'peers from last time',
  neighbours: 'this machine',
  mdns: 'local network',
  kademlia: 'Kademlia'
}

export function stepInWords({ name, state, detail }: NodeStatus['join'][number]): string {
  return `${SOURCES[name] ?? name}: ${state === 'waiting' ? 'waiting ' : ''}${detail}`
}

/** Names come from strangers: control characters would do things to a terminal. */
export function plain(text: string): string {
  return text.replace(/\p{C}/gu, '?')
}

export function swarmInWords({ swarm: { kind, name } }: NodeStatus): string {
  if (kind === 'public') return 'in the public swarm'
  if (kind === 'private') return `in the private swarm ${name}`
  return 'on this machine only; "shoal join" says how to join others'
}

export function modelInWords({ name, covered, missing, nodes, blockCount, demand }: ModelStatus): string {
  const asked = demand > 0 ? `, asked for ${count(round(demand), 'time')} per minute` : ''
  if (covered) return `${name}: covered, ${blockCount} blocks on ${count(nodes, 'node')}${asked}`
  const spans = missing.map(([start, end]) => `${start}-${end}`).join(', ')
  return `${name}: waiting for blocks ${spans} of ${blockCount}: nobody hosts them yet${asked}`
}

function round(value: number): number {
  return value < 10 ? Math.round(value * 10) / 10 : Math.round(value)
}

export function count(number: number, one: string): string {
  return `${number} ${number === 1 ? one : `${one}s`}`
}

export function duration(seconds: number): string {
  if (seconds < 120) return `${Math.round(seconds)} s`
  if (seconds < 7_200) return `${Math.round(seconds / 60)} min`
  return `${Math.round(seconds / 3_600)} h`
}
