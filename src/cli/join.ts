import { text as readAll } from 'node:stream/consumers'
import { confirm, isCancel } from '@clack/prompts'
import { Command } from 'commander'
import {
  dataFolder,
  joinPrivate,
  joinPublic,
  readSwarmFile,
  type SwarmFile,
  stayLocal
} from '../node/index.ts'
import { INTERRUPTED, UsageError, untilInterrupted } from './lifetime.ts'
import { note } from './output.ts'

interface JoinOptions {
  readonly yes?: boolean
  readonly dataDir: string
  readonly json?: boolean
  readonly offline?: boolean
}

/** What the public swarm means, before anybody is asked to join it. */
const PUBLIC_SWARM = `The public swarm is a network of strangers' machines that run models together.
  - Others can connect to this machine, and peers see its network address.
  - It computes blocks of models for strangers.
  - Prompts that you send to it are seen by the machines that compute their answers.
Without it, no node outside this machine is contacted. "shoal join public" joins it later, and "shoal leave" ends it.
`
const NEXT_START = 'A node that runs now takes part from its next start on.'

export function joinCommand(): Command {
  return new Command('join')
    .description('Join a private swarm with a token of "shoal invite", or the public swarm.')
    .argument('<token>', 'the token, "-" to read it from standard input, or "public"')
    .option('--yes', 'join the public swarm without being asked')
    .option('--data-dir <folder>', 'the folder of the node, as "shoal up" was given it', dataFolder())
    .option('--json', 'print one JSON object: what was joined')
    .action(join)
}

async function join(token: string, { yes, dataDir, json, offline }: JoinOptions): Promise<void> {
  const signal = untilInterrupted()
  if (offline && token !== 'public') {
    throw new UsageError('The node that invites has to be asked: leave --offline out.')
  }
  if (token === 'public') {
    if (yes !== true && !(await isWanted())) return
    await joinPublic(dataDir)
    console.log(json ? JSON.stringify({ kind: 'public' }) : 'This machine has joined the public swarm.')
  } else {
    const text = token === '-' ? await readAll(process.stdin) : token
    const { name, founder } = await joinPrivate(dataDir, text, { signal }).catch((error: unknown) => {
      if (signal.aborted) process.exit(INTERRUPTED)
      throw error
    })
    console.log(
      json ? JSON.stringify({ kind: 'private', name, founder }) : `This machine has joined the swarm ${name}.`
    )
  }
  if (!json) note(NEXT_START)
}

async function isWanted(): Promise<boolean> {
  if (!isTerminal()) throw new UsageError('Nobody can be asked here: say --yes to join the public swarm.')
  const answer = await askPublic()
  if (answer === undefined) process.exitCode = INTERRUPTED
  return answer === true
}

/**
 * For the first `shoal up`: on a terminal, asks once whether to join the public swarm, and remembers the answer.
 * Elsewhere, and where something has been joined, it changes nothing. Undefined: Ctrl-C.
 */
export async function askToJoin(dataDir: string): Promise<SwarmFile | undefined> {
  const file = await readSwarmFile(dataDir)
  if (file.kind !== 'local' || file.asked || !isTerminal()) return file
  const answer = await askPublic()
  if (answer === undefined) return undefined
  await (answer ? joinPublic(dataDir) : stayLocal(dataDir))
  return readSwarmFile(dataDir)
}

function askPublic(): Promise<boolean | undefined> {
  console.error(PUBLIC_SWARM)
  return ask('Join the public swarm?')
}

export function isTerminal(): boolean {
  return process.stdin.isTTY && process.stderr.isTTY
}

/** No is the answer that is offered. Undefined: Ctrl-C. */
export async function ask(message: string): Promise<boolean | undefined> {
  const answer = await confirm({ message, initialValue: false, output: process.stderr })
  return isCancel(answer) ? undefined : answer
}
