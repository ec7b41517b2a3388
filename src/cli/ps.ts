import { resolve } from 'node:path'
import { Command } from 'commander'
import { ShoalError } from '../common/index.ts'
import { type NodeStatus, neighboursFolder, runningNodes } from '../node/index.ts'
import { untilInterrupted } from './lifetime.ts'
import { shortPeer } from './options.ts'
import { note } from './output.ts'
import { askStatus, duration, plain } from './status.ts'
import { size, table } from './units.ts'

interface PsOptions {
  readonly dataDir: string
  readonly json?: boolean
}

interface Running
  extends Pick<NodeStatus, 'peer' | 'hosting' | 'sessions' | 'memoryBytes' | 'uptimeSeconds'> {
  readonly folder: string
}

export function psCommand(): Command {
  return new Command('ps')
    .description(
      'What is loaded on this machine: the nodes of yours that run, their blocks, sessions and memory.'
    )
    .action(ps)
}

async function ps({ dataDir, json }: PsOptions): Promise<void> {
  const signal = untilInterrupted()
  const folders = new Set([resolve(dataDir), ...(await runningNodes(neighboursFolder()))])
  const asked = await Promise.all([...folders].map((folder) => running(folder, signal)))
  const nodes = asked.filter((node) => node !== undefined)
  if (json) return console.log(JSON.stringify(nodes))
  if (nodes.length === 0) return note('No node of yours runs on this machine: "shoal up" starts one.')
  const rows = nodes.flatMap(rowsOf)
  for (const line of table([['NODE', 'MODEL', 'BLOCKS', 'SESSIONS', 'MEMORY', 'UP', 'FOLDER'], ...rows])) {
    console.log(line)
  }
}

/** Undefined where it has just left, or says nothing. */
async function running(folder: string, signal: AbortSignal): Promise<Running | undefined> {
  try {
    const { peer, hosting, sessions, memoryBytes, uptimeSeconds } = await askStatus(folder, signal)
    return { peer, folder, hosting, sessions, memoryBytes, uptimeSeconds }
  } catch (error) {
    if (!(error instanceof ShoalError)) throw error
    if (error.code !== 'NOT_RUNNING') console.error(`warning: ${error.message}`)
    return undefined
  }
}

function rowsOf({ peer, folder, hosting, sessions, memoryBytes, uptimeSeconds }: Running): string[][] {
  const loaded = hosting.map(({ name, start, end, blockCount }) => [
    plain(name),
    `${start}-${end} of ${blockCount}`
  ])
  const memory = memoryBytes === undefined ? '' : size(memoryBytes)
  return (loaded.length === 0 ? [['none', '']] : loaded).map(([name = '', blocks = '']) => [
    ...[shortPeer(peer), name, blocks, String(sessions), memory, duration(uptimeSeconds), folder]
  ])
}
