/** llama.cpp's own tools, to compare with: those of a folder that somebody built. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { delimiter, join } from 'node:path'
import { text as readAll } from 'node:stream/consumers'

/** Its last lines are sometimes lost (2 of 25 runs here): another thread writes them, and is not waited for. */
const ATTEMPTS = 10

export interface ToolRun {
  readonly model: string
  readonly text: string
  readonly chunks: number
  readonly threads: number
}

/** As it prints them: the figures are compared to the last digit. */
export interface ToolScores {
  readonly perplexity: string
  readonly error: string
}

export interface ToolDivergence {
  readonly mean: string
  readonly max: string
  readonly p99: string
  readonly median: string
  readonly sameTop: string
}

export class LlamaTools {
  readonly #folder: string
  readonly #workFolder: string

  /** `workFolder`: where names without a folder are looked for. */
  constructor(folder: string, workFolder: string) {
    this.#folder = folder
    this.#workFolder = workFolder
  }

  /** With `keep`, its predictions are kept there, for `divergence`. */
  async perplexity(run: ToolRun, keep?: string): Promise<ToolScores> {
    const flags = keep === undefined ? [] : ['--kl-divergence-base', keep]
    return this.#scores([...flagsOf(run), ...flags], {
      perplexity: /Final estimate: PPL = (\S+)/,
      error: /Final estimate: PPL = \S+ \+\/- (\S+)/
    })
  }

  async divergence(run: ToolRun, kept: string): Promise<ToolDivergence> {
    return this.#scores([...flagsOf(run), '--kl-divergence', '--kl-divergence-base', kept], {
      mean: /Mean +KLD: +(\S+)/,
      max: /Maximum KLD: +(\S+)/,
      p99: /99\.0% +KLD: +(\S+)/,
      median: /Median +KLD: +(\S+)/,
      sameTop: /Same top p: +(\S+)/
    })
  }

  async imatrix(run: ToolRun, output: string): Promise<void> {
    await this.#run('llama-imatrix', [...flagsOf(run), '-o', output])
  }

  async quantize(input: string, output: string, type: string, imatrix?: string): Promise<void> {
    const flags = imatrix === undefined ? [] : ['--imatrix', imatrix]
    await this.#run('llama-quantize', [...flags, input, output, type])
  }

  async #scores<Name extends string>(
    args: readonly string[],
    patterns: Readonly<Record<Name, RegExp>>
  ): Promise<Record<Name, string>> {
    for (let attempt = 1; attempt <= ATTEMPTS; attempt++) {
      const log = await this.#run('llama-perplexity', args)
      const found = Object.entries<RegExp>(patterns).map(([name, pattern]) => [name, pattern.exec(log)?.[1]])
      if (found.every(([, figure]) => figure !== undefined)) return Object.fromEntries(found)
    }
    throw new Error(`llama-perplexity ${args.join(' ')} gives no figures, however often it is run`)
  }

  async #run(name: string, args: readonly string[]): Promise<string> {
    const paths = [this.#folder, process.env.LD_LIBRARY_PATH ?? ''].join(delimiter)
    const child = spawn(join(this.#folder, name), args, {
      cwd: this.#workFolder,
      env: { ...process.env, LD_LIBRARY_PATH: paths },
      stdio: ['ignore', 'pipe', 'pipe']
    })
    const [stdout, stderr, [code]] = await Promise.all([
      readAll(child.stdout),
      readAll(child.stderr),
      once(child, 'close')
    ])
    if (code === 0) return stdout + stderr
    throw new Error(`${name} ${args.join(' ')} ended with ${code}: ${stderr.slice(-500)}`)
  }
}

function flagsOf({ model, text, chunks, threads }: ToolRun): string[] {
  return ['-m', model, '-f', text, '--chunks', String(chunks), '-t', String(threads), '-ngl', '0']
}
