/** Before all suites: the pages are built anew where their sources are newer. */
import { execFile } from 'node:child_process'
import { globSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { promisify } from 'node:util'

const ROOT = join(import.meta.dirname, '../..')
const VITE = join(ROOT, 'node_modules/vite/bin/vite.js')
const SOURCES = ['web/src/**/*', 'web/public/*', 'web/index.html', 'web/*.ts']

export default async function build(): Promise<void> {
  const newest = Math.max(...globSync(SOURCES, { cwd: ROOT }).map(changedAt))
  if (changedAt('web/dist/index.html') > newest) return
  const env = { ...process.env, NODE_ENV: 'production' }
  await promisify(execFile)(process.execPath, [VITE, 'build', 'web', '--logLevel', 'error'], {
    cwd: ROOT,
    env
  })
}

function changedAt(path: string): number {
  return statSync(join(ROOT, path), { throwIfNoEntry: false })?.mtimeMs ?? 0
}
