/** Provider nodes as processes of their own, for benches and tests. */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { type ProfileName, type WanProfile, wanChild } from '../test/wan/index.ts'

const SHOAL = fileURLToPath(new URL('../bin/shoal.js', import.meta.url))

export interface Provider {
  readonly address: string
  readonly peer: string
  readonly process: ChildProcess
  /** Its links are so from now on, where it was started with a profile. */
  wan(profile: WanProfile): void
  stop(): Promise<void>
}

/** Starts `shoal up` for one span, with emulated links where a profile is named; resolves when it can be asked. */
export async function startProvider(init: {
  readonly model: string
  readonly blocks: string
  readonly folder: string
  readonly flags?: readonly string[]
  readonly profile?: ProfileName | undefined
}): Promise<Provider> {
  const dataDir = join(init.folder, `node-${init.blocks}`)
  const flags = ['--model', init.model, '--blocks', init.blocks, '--data-dir', dataDir, '--json']
  const args = [SHOAL, 'up', ...flags, ...(init.flags ?? [])]
  const { execArgv, env } = wanChild(init.profile)
  const child = spawn(process.execPath, [...execArgv, ...args], {
    stdio: ['ignore', 'pipe', 'inherit', 'ipc'],
    env
  })
  const exit = once(child, 'exit').then(([code]) => {
    throw new Error(`the provider of blocks ${init.blocks} ended with code ${code}`)
  })
  exit.catch(() => {})
  const lines = createInterface({ input: child.stdout as NodeJS.ReadableStream })
  const [line] = (await Promise.race([once(lines, 'line'), exit])) as [string]
  const { peer, addresses } = JSON.parse(line) as { peer: string; addresses: [string] }
  return {
    ...{ address: addresses[0], peer, process: child },
    wan: (wan) => void child.send({ wan }),
    async stop() {
      if (child.exitCode !== null || child.signalCode !== null) return
      const gone = once(child, 'exit')
      if (child.connected) child.disconnect() // at once: SIGTERM would wait for sessions that a failed bench has left
      await gone
    }
  }
}
