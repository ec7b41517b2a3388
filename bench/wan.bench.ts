/**
 * What distance costs: three stages as processes, links emulated (test/wan). R5 and R8 over delay alone, which is what
 * they are about; R12 and R13 at `world`.
 */
import { mkdir, mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import type { Bench, Figure } from './bench.ts'
import { type ShapeName, writeShape } from './models.ts'
import { startWanChain, type WanChain } from './wan-chain.ts'
import { measureCrowds } from './wan-crowd.ts'
import { measurePrediction } from './wan-prediction.ts'
import { measurePrompts } from './wan-prompts.ts'

const PARTS = ['R5', 'R8', 'R12', 'R13']
/** Beside a prompt: its answer, and another turn. */
const MORE_POSITIONS = 256
/** Sessions of R8 at once, at most, and the positions of each. */
const MOST_SESSIONS = 96
const SESSION_POSITIONS = 512

export interface WanSetup {
  readonly wan: WanChain
  readonly path: string
  readonly folder: string
  readonly threads: number
  readonly rounds: number
  readonly log: (message: string) => void
}

export const bench: Bench = {
  name: 'wan',
  description:
    'far links, emulated: R5, R8, R12 and R13 (--only R5,R8,R12,R13 --shape 1b|3b|1b-12|3b-12 --threads N ' +
    '--rounds N --rtts MS,MS --tokens N --seconds N --sessions N --prompt N --profile NAME)',
  async run({ flags, log }) {
    const { values } = parseArgs({
      args: flags,
      options: {
        only: { type: 'string', default: PARTS.join() },
        shape: { type: 'string', default: '1b-12' },
        threads: { type: 'string', default: '1' },
        rounds: { type: 'string', default: '3' },
        rtts: { type: 'string', default: '0,5,10,20,50,100' },
        tokens: { type: 'string', default: '24' },
        seconds: { type: 'string', default: '10' },
        sessions: { type: 'string' },
        prompt: { type: 'string', default: '4000' },
        profile: { type: 'string', default: 'world' }
      }
    })
    const parts = new Set(values.only.split(','))
    const [threads, rounds, prompt] = [Number(values.threads), Number(values.rounds), Number(values.prompt)]
    const cache = join(tmpdir(), 'shoal-bench')
    await mkdir(cache, { recursive: true })
    log('writing the model (once)')
    const path = await writeShape(values.shape as ShapeName, 'Q4_0', cache)
    const folder = await mkdtemp(join(tmpdir(), 'shoal-wan-'))
    const context = Math.max(prompt + MORE_POSITIONS, parts.has('R8') ? MOST_SESSIONS * SESSION_POSITIONS : 0)
    try {
      log('starting three stages')
      const wan = await startWanChain({ path, folder, context, sessions: MOST_SESSIONS, threads })
      const setup: WanSetup = { wan, path, folder, threads, rounds, log }
      try {
        const figures: Record<string, Figure> = {}
        if (parts.has('R5')) {
          const rtts = values.rtts.split(',').map(Number)
          Object.assign(figures, await measurePrediction(setup, rtts, Number(values.tokens)))
        }
        if (parts.has('R8')) {
          const sessions = values.sessions === undefined ? undefined : Number(values.sessions)
          const limits = { sessions, most: MOST_SESSIONS, seconds: Number(values.seconds) }
          Object.assign(figures, await measureCrowds(setup, limits))
        }
        if (parts.has('R12') || parts.has('R13')) {
          const measured = await measurePrompts(setup, { rows: prompt, profile: values.profile, parts })
          Object.assign(figures, measured)
        }
        return figures
      } finally {
        await wan.stop()
      }
    } finally {
      await rm(folder, { recursive: true, force: true })
    }
  }
}
