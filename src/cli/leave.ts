import { Command } from 'commander'
import { dataFolder, isFounder, leaveSwarm, readSwarmFile } from '../node/index.ts'
import { ask, isTerminal } from './join.ts'
import { INTERRUPTED, UsageError } from './lifetime.ts'
import { note } from './output.ts'

interface LeaveOptions {
  readonly yes?: boolean
  readonly dataDir: string
  readonly json?: boolean
}

export function leaveCommand(): Command {
  return new Command('leave')
    .description('Leave the swarm that this machine has joined: from then on, it contacts nobody else.')
    .option('--yes', 'leave a private swarm without being asked')
    .option('--data-dir <folder>', 'the folder of the node, as "shoal up" was given it', dataFolder())
    .option('--json', 'print one JSON object: what was left')
    .action(leave)
}

async function leave({ yes, dataDir, json }: LeaveOptions): Promise<void> {
  const file = await readSwarmFile(dataDir)
  if (file.kind === 'private' && yes !== true) {
    const loss = (await isFounder(dataDir, file))
      ? `This machine made the swarm ${file.name}. Its key is kept nowhere else: nobody can be invited any more.`
      : `It takes a new invitation to come back to the swarm ${file.name}.`
    if (!isTerminal()) throw new UsageError(`${loss} Say --yes to leave nevertheless.`)
    const answer = await ask(`${loss}\nLeave it?`)
    if (answer === undefined) process.exitCode = INTERRUPTED
    if (answer !== true) return
  }
  const left = await leaveSwarm(dataDir)
  const name = left.kind === 'private' ? left.name : undefined
  if (json) console.log(JSON.stringify({ kind: left.kind, name }))
  else if (left.kind === 'local') console.log('This machine has joined nothing.')
  else console.log(`This machine has left the ${name === undefined ? 'public swarm' : `swarm ${name}`}.`)
  if (!json) note('A node that runs now stays in it until its next start.')
}
