/** What keeps this machine from taking part, in plain words, and what to do about it. */
import { access, constants, statfs } from 'node:fs/promises'
import { availableParallelism } from 'node:os'
import { Command } from 'commander'
import { makeFolder, ShoalError } from '../common/index.ts'
import { LlamaEngine } from '../engine/index.ts'
import { dataFolder, type NodeStatus } from '../node/index.ts'
import { untilInterrupted } from './lifetime.ts'
import { DEMO_MODEL } from './options.ts'
import { askStatus, count, modelInWords, plain, stepInWords, swarmInWords } from './status.ts'

interface DoctorOptions {
  readonly dataDir: string
  readonly json?: boolean
}

export interface Finding {
  /** `bad` is what Shoal can't work with. */
  readonly state: 'good' | 'note' | 'bad'
  readonly what: string
  readonly advice?: string | undefined
}

const GIB = 2 ** 30
/** Below this a span of a useful model hardly fits. */
const LITTLE_DISK_BYTES = 5 * GIB
const LITTLE_MEMORY_BYTES = 2 * GIB

export function doctorCommand(): Command {
  return new Command('doctor')
    .description('Look for what keeps this machine from taking part, and say what to do about it.')
    .option('--data-dir <folder>', 'the folder of the node, as "shoal up" was given it', dataFolder())
    .option('--json', 'print a JSON array of findings')
    .action(doctor)
}

async function doctor({ dataDir, json }: DoctorOptions): Promise<void> {
  const signal = untilInterrupted()
  const findings = [
    ...(await aboutMachine(dataDir)),
    ...(await aboutEngine(signal)),
    ...(await aboutNode(dataDir, signal))
  ]
  if (json) console.log(JSON.stringify(findings))
  else for (const finding of findings) console.log(inWords(finding))
  if (findings.some(({ state }) => state === 'bad')) process.exitCode = 1
}

function inWords({ state, what, advice }: Finding): string {
  const mark = { good: 'ok  ', note: 'note', bad: 'BAD ' }[state]
  return `${mark} ${plain(what)}${advice === undefined ? '' : `\n     -> ${plain(advice)}`}`
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

async function aboutNode(dataDir: string, signal: AbortSignal): Promise<Finding[]> {
  try {
    return aboutSwarm(await askStatus(dataDir, signal))
  } catch (error) {
    if (!(error instanceof ShoalError)) throw error
    const advice = error.code === 'NOT_RUNNING' ? 'Start one with "shoal up".' : undefined
    return [{ state: 'note', what: error.message, advice }]
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
