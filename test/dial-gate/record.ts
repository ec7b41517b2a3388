/** What was denied, in a file that a test's process shares with those that it starts. */
import { appendFileSync, existsSync, readFileSync, rmSync } from 'node:fs'

/** Names the file. */
export const RECORD = 'SHOAL_DIAL_GATE'
/** Of a process that was ended for it. */
export const DENIED = 86

export function record(attempt: string): string {
  const message = `dial gate: ${process.argv.slice(1).join(' ')} tried to ${attempt}; tests stay on loopback`
  const path = process.env[RECORD]
  if (path !== undefined) appendFileSync(path, `${message}\n`)
  return message
}

/** What has been recorded since the last call. */
export function takeRecord(path: string): string {
  if (!existsSync(path)) return ''
  const lines = readFileSync(path, 'utf8')
  rmSync(path)
  return lines
}
