/** What commands say beside their results, on standard error. */

import type { HostLogger } from '../net/index.ts'
import { logFile, NodeLog, type NodeSettings } from '../node/index.ts'

let isQuiet = false

/** Set once, before a command runs: warnings and errors are said nevertheless. */
export function beQuiet(quiet: boolean): void {
  isQuiet = quiet
}

export function mayChat(): boolean {
  return !isQuiet
}

/** Of use to people only: "shoal list > file" has none of it. */
export function note(message: string): void {
  if (!isQuiet) console.error(message)
}

interface ReportOptions {
  readonly dataDir: string
  readonly json?: boolean
  readonly verbose?: boolean
}

/** What a node that stays says, here and in its log. */
export function nodeReports({
  dataDir,
  json,
  verbose
}: ReportOptions): Pick<NodeSettings, 'logger' | 'onProgress'> {
  const log = new NodeLog({ path: logFile(dataDir), level: verbose ? 'debug' : 'info' })
  const both =
    (level: keyof HostLogger) =>
    (message: string): void => {
      log[level](message)
      if (verbose) console.error(`${level}: ${message}`)
    }
  return {
    logger: { debug: both('debug'), info: both('info'), warn: both('warn'), error: both('error') },
    onProgress: (message, level) => {
      log[level === 'warning' ? 'warn' : 'info'](message)
      if (level === 'warning') console.error(`warning: ${message}`)
      else if (!json) note(message)
    }
  }
}
