import { Command } from 'commander'
import { askNode, dataFolder } from '../node/index.ts'
import { INTERRUPTED, untilInterrupted } from './lifetime.ts'
import { note } from './output.ts'

interface FinishOptions {
  readonly dataDir: string
  readonly json?: boolean
}

export function finishCommand(): Command {
  return new Command('finish')
    .description(
      'Let the node of this machine leave in good order: it takes no new sessions, and ends when those that run ' +
        'have moved to other nodes or ended, after two minutes at the latest.'
    )
    .option('--data-dir <folder>', 'the folder of the node, as "shoal up" was given it', dataFolder())
    .option('--json', 'print one JSON object when it has left: the sessions that ended with it')
    .action(finish)
}

async function finish({ dataDir, json }: FinishOptions): Promise<void> {
  const signal = untilInterrupted()
  const say = (message: string): void => void (json || note(message))
  let sessions = 0
  try {
    for await (const progress of askNode(dataDir, 'finish', signal)) {
      sessions = progress.sessions
      if (sessions > 0) say(`finishing ${sessionCount(sessions)}`)
    }
  } catch (error) {
    if (!signal.aborted) throw error
    say('The node goes on finishing. Ask again to see how far it is.')
    process.exitCode = INTERRUPTED
    return
  }
  if (json) console.log(JSON.stringify({ sessions }))
  else
    console.log(
      sessions === 0 ? 'The node has left.' : `The node has left; ${sessionCount(sessions)} ended with it.`
    )
}

export function sessionCount(sessions: number): string {
  return sessions === 1 ? '1 session' : `${sessions} sessions`
}
