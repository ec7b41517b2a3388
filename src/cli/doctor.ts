/** What keeps this machine from taking part, in plain words, and what to do about it. */
import { once } from 'node:events'
import { access, constants, stat, statfs } from 'node:fs/promises'
import { createServer } from 'node:net'
import { availableParallelism } from 'node:os'
import { fileURLToPath } from 'node:url'
import { Command } from 'commander'
import { makeFolder, ShoalError } from '../common/index.ts'
import { LlamaEngine } from '../engine/index.ts'
import { similar } from '../models/index.ts'
import { dataFolder, type NodeStatus } from '../node/index.ts'
import { untilInterrupted } from './lifetime.ts'
import { API_PORT, DEMO_MODEL } from './options.ts'
import { findSetting, knownSettings, loadSettings, optionValue, settingsPath } from './settings.ts'
import { askStatus, count, modelInWords, plain, stepInWords, swarmInWords } from './status.ts'

interface DoctorOptions {
  readonly dataDir: string
  readonly config?: string
  readonly json?: boolean
}

export interface Finding {
  /** `bad` is what Shoal can't work with. */
  readonly state: 'good' | 'note' | 'bad'
  readonly what: string
  readonly advice?: string | undefined
}

const DAY_MS = 86_400_000
const SHOAL = fileURLToPath(new URL('../../bin/shoal.js', import.meta.url))
/** Read elsewhere than as settings. */
const OTHER_VARIABLES = ['SHOAL_CONFIG', 'SHOAL_NEIGHBOURS']

const GIB = 2 ** 30
/** Below this a span of a useful model hardly fits. */
const LITTLE_DISK_BYTES = 5 * GIB
const LITTLE_MEMORY_BYTES = 2 * GIB

export function doctorCommand(program: Command): Command {
  return new Command('doctor')
    .description('Look for what keeps this machine from taking part, and say what to do about it.')
    .option('--data-dir <folder>', 'the folder of the node, as "shoal up" was given it', dataFolder())
    .option('--json', 'print a JSON array of findings')
    .action((options: DoctorOptions) => doctor(program, options))
}

async function doctor(program: Command, { dataDir, config, json }: DoctorOptions): Promise<void> {
  const signal = untilInterrupted()
  const node = await aboutNode(dataDir, signal)
  const findings = [
    ...(await aboutSettings(program, config)),
    ...aboutClock(Date.now(), await releasedAt()),
    ...(await aboutMachine(dataDir)),
    ...(await aboutEngine(signal)),
    ...(node.isRunning ? [] : await aboutPort(API_PORT)),
    ...node.findings
  ]
  if (json) console.log(JSON.stringify(findings))
  else for (const finding of findings) console.log(inWords(finding))
  if (findings.some(({ state }) => state === 'bad')) process.exitCode = 1
}

function inWords({ state, what, advice }: Finding): string {
  const mark = { good: 'ok  ', note: 'note', bad: 'BAD ' }[state]
  return `${mark} ${plain(what)}${advice === undefined ? '' : `\n     -> ${plain(advice)}`}`
}

/** What nobody reads because of a mistyped name, too. */
export async function aboutSettings(program: Command, flag: string | undefined): Promise<Finding[]> {
  const known = [...knownSettings(program).values()]
  const names = [...OTHER_VARIABLES, ...known.map(({ variable }) => variable)]
  const unread = Object.keys(process.env).filter((name) => /^SHOAL_/.test(name) && !names.includes(name))
  const notes = unread.flatMap((name): Finding[] => {
    const [meant] = similar(name, names, 1) // others may have variables that begin so, too
    const what = `nothing reads the environment variable ${name}`
    return meant === undefined ? [] : [{ state: 'note', what, advice: `Did you mean ${meant}?` }]
  })
  try {
    const path = settingsPath(flag)
    const settings = await loadSettings(program, path)
    for (const each of known) {
      const found = findSetting(each, settings, path ?? '')
      if (found !== undefined) optionValue(each.option, found)
    }
    return [{ state: 'good', what: `${count(settings.size, 'setting')} in ${path ?? 'no file'}` }, ...notes]
  } catch (error) {
    if (!(error instanceof ShoalError)) throw error
    return [
      { state: 'bad', what: error.message, advice: 'Edit the file ("shoal config path"), or unset it.' },
      ...notes
    ]
  }
}

/** Invitations and what nodes say of themselves are only good for a time. */
export function aboutClock(now: number, released: number): Finding[] {
  if (now > released - DAY_MS)
    return [{ state: 'good', what: `the clock says ${new Date(now).toISOString()}` }]
  const what = `the clock says ${new Date(now).toISOString()}, which is before this Shoal was installed`
  return [{ state: 'bad', what, advice: 'Set the clock: others refuse what seems to be old.' }]
}

async function releasedAt(): Promise<number> {
  return (await stat(SHOAL)).mtimeMs
}

/** Where programs look for the API. */
export async function aboutPort(port: number): Promise<Finding[]> {
  const server = createServer()
  try {
    server.listen(port, '127.0.0.1')
    await once(server, 'listening')
    return [{ state: 'good', what: `port ${port} is free for the API` }]
  } catch (error) {
    const advice = '"shoal up" takes another port then, and says which; --port names one.'
    return [{ state: 'note', what: `port ${port}, for the API: ${(error as Error).message}`, advice }]
  } finally {
    server.close()
  }
}

async function aboutMachine(dataDir: string): Promise<Finding[]> {
  const memory = process.availableMemory()
  const findings: Finding[] = [
    { state: 'good', what: `Node ${process.versions.node}, ${availableParallelism()} cores` },
    {
      state: memory < LITTLE_MEMORY_BYTES ? 'note' : 'good',
      what: `${gib(memory)} of memory free`,
      advice: memory < LITTLE_MEMORY_BYTES ? 'Close programs, or host small models only.' : undefined
    }
  ]
  try {
    makeFolder(dataDir)
    await access(dataDir, constants.R_OK | constants.W_OK)
    const { bavail, bsize } = await statfs(dataDir)
    const isLittle = bavail * bsize < LITTLE_DISK_BYTES
    const advice = isLittle ? 'Free some, or put the data folder elsewhere with --data-dir.' : undefined
    findings.push({
      state: isLittle ? 'note' : 'good',
      what: `${gib(bavail * bsize)} of disk free in ${dataDir}`,
      advice
    })
  } catch (error) {
    const advice = 'Make it yours (chown), or use another one with --data-dir.'
    findings.push({ state: 'bad', what: `${dataDir} cannot be used: ${(error as Error).message}`, advice })
  }
  return findings
}

/** Loads a vocabulary: the libraries are there, and this machine can run them. */
async function aboutEngine(signal: AbortSignal): Promise<Finding[]> {
  const engine = new LlamaEngine({
    ...{ files: [DEMO_MODEL], vocabularyOnly: true, gpuLayers: 0 },
    ...{ context: 0, sequences: 0, threads: 1 }
  })
  try {
    await engine.start({ signal })
    const { devices } = engine.description
    const names = devices.filter(({ kind }) => kind !== 'cpu').map(({ description }) => description)
    return [
      {
        state: 'good',
        what: `llama.cpp works${names.length > 0 ? `, with ${names.join(', ')}` : ', without a GPU'}`
      }
    ]
  } catch (error) {
    signal.throwIfAborted()
    const advice = 'Install again with "npm ci"; say so in an issue if that does not help.'
    return [{ state: 'bad', what: `llama.cpp does not work: ${(error as Error).message}`, advice }]
  } finally {
    await engine.stop()
  }
}

async function aboutNode(
  dataDir: string,
  signal: AbortSignal
): Promise<{ isRunning: boolean; findings: Finding[] }> {
  try {
    return { isRunning: true, findings: aboutSwarm(await askStatus(dataDir, signal)) }
  } catch (error) {
    if (!(error instanceof ShoalError)) throw error
    const advice = error.code === 'NOT_RUNNING' ? 'Start one with "shoal up".' : undefined
    return { isRunning: false, findings: [{ state: 'note', what: error.message, advice }] }
  }
}

export function aboutSwarm(status: NodeStatus): Finding[] {
  const { peers, join, models, placement } = status
  const steps = join.filter(({ state }) => state !== 'off')
  return [
    { state: 'good', what: `a node runs, ${swarmInWords(status)}` },
    ...steps.map(
      (step): Finding => ({
        state: step.state === 'failed' ? 'note' : 'good',
        what: stepInWords(step),
        advice: step.advice
      })
    ),
    peers.length > 0
      ? { state: 'good', what: count(peers.length, 'peer') }
      : { state: 'note', what: 'no peers', advice: lonely(status) },
    ...models.map(
      (model): Finding => ({
        state: model.covered ? 'good' : 'note',
        what: modelInWords(model),
        advice: model.covered
          ? undefined
          : 'Start more nodes for it, or give this one more memory (--memory).'
      })
    ),
    ...(placement === '' ? [] : [{ state: 'good' as const, what: placement }])
  ]
}

function lonely({ swarm: { kind } }: NodeStatus): string {
  if (kind === 'private')
    return 'Is the node that invited you up? "shoal netcheck" says whether it can be reached.'
  if (kind === 'public')
    return 'Name a node with --peer ADDRESS; "shoal netcheck" says whether this one can be reached.'
  return 'Only nodes of yours on this machine are looked for. "shoal join" says how to join others.'
}

function gib(bytes: number): string {
  return `${(bytes / GIB).toFixed(1)} GiB`
}
