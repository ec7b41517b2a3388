import { Command } from 'commander'
import { type LogLine, logFile, readLog } from '../node/index.ts'
import { untilInterrupted } from './lifetime.ts'
import { integer } from './options.ts'
import { note } from './output.ts'
import { plain } from './status.ts'

interface LogsOptions {
  readonly follow?: boolean
  readonly lines: number
  readonly dataDir: string
  readonly json?: boolean
}

export function logsCommand(): Command {
  return new Command('logs')
    .description('What the node of this machine wrote down. "shoal up --verbose" writes more.')
    .option('-f, --follow', 'and what it writes from now on, until Ctrl-C')
    .option('-n, --lines <count>', 'the last so many lines', integer(0, 2 ** 31 - 1), 100)
    .action(logs)
}

async function logs({ follow = false, lines, dataDir, json }: LogsOptions): Promise<void> {
  const path = logFile(dataDir)
  let isEmpty = true
  for await (const line of readLog(path, { count: lines, follow, signal: untilInterrupted() })) {
    isEmpty = false
    console.log(json ? JSON.stringify(line) : inWords(line))
  }
  if (isEmpty && !follow && lines > 0) note(`Nothing is in ${path}: no node has run there yet.`)
}

function inWords({ time, level, message }: LogLine): string {
  return `${plain(time)} ${level.padEnd(5)} ${plain(message)}`
}
