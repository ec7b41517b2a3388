/** What answers HTTP: `shoal up`, and llama.cpp's own server where somebody has built one. */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { setTimeout as delay } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'

const SHOAL = fileURLToPath(new URL('../bin/shoal.js', import.meta.url))
const START_MS = 120_000
const LOOK_MS = 100

export interface Server {
  readonly url: string
  /** What it calls the model. */
  readonly model: string
  readonly process: ChildProcess
}

export interface ServerInit {
  readonly model: string
  readonly threads: number
  readonly context: number
  readonly sessions: number
  readonly flags?: readonly string[]
}

/** A node that hosts all of the model, and answers over itself. */
export async function startShoal(folder: string, init: ServerInit): Promise<Server> {
  const { model, threads, context, sessions, flags = [] } = init
  const engine = ['--threads', threads, '--context', context, '--sessions', sessions, '--gpu-layers', 0].map(
    String
  )
  const where = ['--data-dir', join(folder, 'node'), '--listen', '/ip4/127.0.0.1/tcp/0', '--port', '0']
  const blocks = ['--blocks', 'all']
  const child = spawn(
    process.execPath,
    [SHOAL, 'up', '--json', '--model', model, ...blocks, ...where, ...engine, ...flags],
    {
      stdio: ['ignore', 'pipe', 'inherit'],
      env: { ...process.env, SHOAL_NEIGHBOURS: join(folder, 'neighbours') }
    }
  )
  const [line] = (await Promise.race([
    once(createInterface({ input: child.stdout }), 'line'),
    once(child, 'exit').then(([code]) => Promise.reject(new Error(`the node ended with code ${code}`)))
  ])) as [string]
  const { api, model: id } = JSON.parse(line) as { api: string; model: string }
  return { url: api, model: id, process: child }
}

/** `folder`: where `llama-server` of llama.cpp v0.5.0 is. It runs with the libraries of the npm package: the same kernels. */
export async function startLlama(folder: string, port: number, init: ServerInit): Promise<Server> {
  const { model, threads, context, sessions } = init
  const counts = ['-t', threads, '-tb', threads, '-c', context, '-np', sessions, '--port', port, '-ngl', 0]
  const child = spawn(
    join(folder, 'llama-server'),
    ['-m', model, '--host', '127.0.0.1', '-fa', 'on', '--no-webui', ...counts.map(String)],
    { stdio: 'ignore', env: { ...process.env, LD_LIBRARY_PATH: folder } }
  )
  const url = `http://127.0.0.1:${port}`
  const deadline = performance.now() + START_MS
  for (;;) {
    const isReady = await fetch(`${url}/health`).then(
      ({ ok }) => ok,
      () => false
    )
    if (isReady) return { url, model: 'any', process: child }
    if (child.exitCode !== null) throw new Error(`llama-server ended with code ${child.exitCode}`)
    if (performance.now() > deadline) throw new Error('llama-server does not become ready')
    await delay(LOOK_MS)
  }
}

export async function stop({ process: child }: Server): Promise<void> {
  if (child.exitCode !== null) return
  const gone = once(child, 'exit')
  child.kill('SIGINT')
  const killing = setTimeout(() => child.kill('SIGKILL'), 15_000)
  await gone
  clearTimeout(killing)
}

/** Resident memory of a process and its children, in MiB. Linux only. */
export async function memoryOf({ process: child }: Server): Promise<number> {
  const pids = [child.pid as number, ...(await childrenOf(child.pid as number))]
  const sizes = await Promise.all(
    pids.map(async (pid) => {
      const status = await readFile(`/proc/${pid}/status`, 'utf8').catch(() => '')
      return Number(/RssAnon:\s+(\d+)/.exec(status)?.[1] ?? 0) / 1024
    })
  )
  return sizes.reduce((sum, size) => sum + size, 0)
}

async function childrenOf(pid: number): Promise<number[]> {
  const text = await readFile(`/proc/${pid}/task/${pid}/children`, 'utf8').catch(() => '')
  const children = text
    .split(' ')
    .filter((word) => word.trim() !== '')
    .map(Number)
  const others = await Promise.all(children.map(childrenOf))
  return [...children, ...others.flat()]
}
