/** llama.cpp's own RPC: three servers on loopback, measured with its own bench tool. */
import { type ChildProcess, execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { createConnection } from 'node:net'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { type Figure, rounded } from './bench.ts'

const SERVERS = 3
const FIRST_PORT = 50_452
const CONNECT_ATTEMPTS = 100
const CONNECT_PAUSE_MS = 100

interface RpcInit {
  /** Where `ggml-rpc-server` and `llama-bench` of llama.cpp v0.5.0 lie, both built with GGML_RPC. */
  readonly folder: string
  readonly model: string
  readonly threads: number
  readonly tokens: number
  readonly log: (message: string) => void
}

/** Tokens per second through three RPC servers, and of the same program alone: its R2. */
export async function measureRpc({
  folder,
  model,
  threads,
  tokens,
  log
}: RpcInit): Promise<Record<string, Figure>> {
  const servers: ChildProcess[] = []
  try {
    const endpoints = Array.from({ length: SERVERS }, (_, index) => `127.0.0.1:${FIRST_PORT + index}`)
    for (const endpoint of endpoints) {
      const port = endpoint.split(':')[1] as string
      const flags = ['-H', '127.0.0.1', '-p', port, '-t', String(threads)]
      servers.push(spawn(join(folder, 'ggml-rpc-server'), flags, { stdio: 'ignore' }))
      await listening(Number(port))
    }
    const measure = async (flags: readonly string[]): Promise<number> => {
      const common = ['-m', model, '-p', '0', '-n', String(tokens), '-t', String(threads), '-o', 'json']
      const { stdout } = await promisify(execFile)(join(folder, 'llama-bench'), [...common, ...flags])
      return (JSON.parse(stdout) as [{ avg_ts: number }])[0].avg_ts
    }
    log('llama.cpp alone')
    const alone = await measure(['-ngl', '0'])
    log('llama.cpp with three RPC servers')
    const remote = await measure(['-ngl', '99', '--rpc', endpoints.join(',')])
    return {
      rpc_R2: { value: rounded(remote / alone), unit: 'ratio', note: 'llama.cpp RPC, three servers' },
      rpc_added: { value: rounded((1000 / remote - 1000 / alone) / SERVERS), unit: 'ms per hop' }
    }
  } finally {
    for (const server of servers) server.kill()
  }
}

async function listening(port: number): Promise<void> {
  for (let attempt = 0; attempt < CONNECT_ATTEMPTS; attempt++) {
    const socket = createConnection(port, '127.0.0.1')
    try {
      await once(socket, 'connect')
      return
    } catch {
      await new Promise((resolve) => setTimeout(resolve, CONNECT_PAUSE_MS))
    } finally {
      socket.destroy()
    }
  }
  throw new Error(`ggml-rpc-server does not listen on port ${port}`)
}
