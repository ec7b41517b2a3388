/**
 * Fails the run on any address that is not loopback, in the process that runs the tests and in those that they
 * start, also where whoever dialled takes the refusal for a peer that is down. Processes that are given an
 * environment without NODE_OPTIONS, or are not Node, are not seen.
 */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, afterEach } from 'vitest'
import { installDialGate } from './gate.ts'
import { RECORD, record, takeRecord } from './record.ts'

const PRELOAD = `--import ${new URL('./preload.mjs', import.meta.url)}`

const folder = mkdtempSync(join(tmpdir(), 'shoal-dial-gate-'))
const path = join(folder, 'denied')
process.env[RECORD] = path
const { NODE_OPTIONS = '' } = process.env
if (!NODE_OPTIONS.includes(PRELOAD)) process.env.NODE_OPTIONS = `${NODE_OPTIONS} ${PRELOAD}`.trim()

installDialGate((attempt) => {
  throw new Error(record(attempt))
})

function check(): void {
  const denied = takeRecord(path)
  if (denied !== '') throw new Error(denied)
}

afterEach(check)
afterAll(() => {
  rmSync(folder, { recursive: true, force: true })
})
afterAll(check) // before the folder is gone: the last registered is the first to run
