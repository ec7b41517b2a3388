/** `shoal service`: a node that starts when its owner logs in. */
import { execFile } from 'node:child_process'
import { existsSync } from 'node:fs'
import { rm } from 'node:fs/promises'
import { dirname, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { Command } from 'commander'
import { makeFolder, replaceFile, ShoalError } from '../common/index.ts'
import { UsageError, untilInterrupted } from './lifetime.ts'
import { note } from './output.ts'
import { type ServiceFile, serviceFile } from './service-files.ts'
import { askStatus } from './status.ts'

interface ServiceOptions {
  readonly print?: boolean
  readonly now?: boolean
  readonly dataDir: string
  readonly config?: string
  readonly json?: boolean
}

const SHOAL = fileURLToPath(new URL('../../bin/shoal.js', import.meta.url))

export function serviceCommand(): Command {
  const command = new Command('service').description(
    'Start a node when you log in: a systemd user unit, a launchd agent, or a task of Windows.'
  )
  command
    .command('install')
    .description('Write the file, and say how to enable it. The node takes its options from "shoal config".')
    .option('--print', 'print the file, and write nothing')
    .option('--now', 'enable it, too')
    .action(install)
  command
    .command('uninstall')
    .description('Remove the file, and say how to disable it.')
    .option('--now', 'disable it first')
    .action(uninstall)
  command
    .command('status')
    .description('Whether the file is there, and whether the node runs.')
    .action(status)
  return command
}

function fileFor({ dataDir, config }: ServiceOptions): ServiceFile {
  const settings = config === undefined ? [] : ['--config', resolve(config)]
  const file = serviceFile(process.platform, {
    command: [process.execPath, SHOAL, 'up', '--data-dir', resolve(dataDir), ...settings],
    ...{ dataDir: resolve(dataDir), environment: process.env }
  })
  if (file === undefined)
    throw new UsageError(`No kind of service is known for ${process.platform}: run "shoal up".`)
  return file
}

async function install(options: ServiceOptions): Promise<void> {
  const file = fileFor(options)
  const { path, text, enable } = file
  if (options.print) return console.log(options.json ? JSON.stringify(file) : text.trimEnd())
  makeFolder(dirname(path))
  await replaceFile(path, text)
  if (options.json) console.log(JSON.stringify({ path, enable }))
  else console.log(`Written to ${path}.`)
  await runOrTell(enable, options.now, 'Enable it with:')
}

async function uninstall(options: ServiceOptions): Promise<void> {
  const { path, disable } = fileFor(options)
  const isThere = existsSync(path)
  if (isThere) await runOrTell(disable, options.now, 'If it was enabled, disable it with:')
  await rm(path, { force: true })
  if (options.json) console.log(JSON.stringify({ path, removed: isThere }))
  else console.log(isThere ? `Removed ${path}.` : `There is none at ${path}.`)
}

async function status(options: ServiceOptions): Promise<void> {
  const { path } = fileFor(options)
  const isInstalled = existsSync(path)
  const isRunning = await askStatus(options.dataDir, untilInterrupted()).then(
    () => true,
    (error: unknown) => {
      if (error instanceof ShoalError) return false
      throw error
    }
  )
  if (options.json) console.log(JSON.stringify({ path, installed: isInstalled, running: isRunning }))
  else {
    console.log(isInstalled ? `installed: ${path}` : `not installed: there is no ${path}`)
    console.log(isRunning ? `a node runs in ${options.dataDir}` : `no node runs in ${options.dataDir}`)
  }
}

async function runOrTell(
  commands: readonly (readonly string[])[],
  now: boolean | undefined,
  what: string
): Promise<void> {
  if (!now) return note([what, ...commands.map((words) => `  ${words.join(' ')}`)].join('\n'))
  for (const [program = '', ...words] of commands) {
    try {
      await promisify(execFile)(program, words)
    } catch (cause) {
      const why = ((cause as { stderr?: string }).stderr || (cause as Error).message).trim()
      throw new ShoalError('SERVICE', `"${[program, ...words].join(' ')}" failed: ${why}`, { cause })
    }
  }
}
