// Starting, giving up, failing to load, dying and coming back.
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { copyFile, mkdtemp, rm, truncate, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { writeModelFile } from '../../test/models/file.ts'
import { tinyModel } from '../../test/models/index.ts'
import { planGguf } from '../gguf/index.ts'
import { LlamaEngine } from './llama-engine.ts'
import { DEMO, runOne, startEngine } from './testing.ts'

const ROWS = { sequence: 0, position: 0, tokens: Int32Array.of(1, 2, 3), output: 'logits-last' } as const

let folder: string

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'shoal-lifecycle-'))
})

afterAll(() => rm(folder, { recursive: true }))

function engineWith(...files: string[]): LlamaEngine {
  return new LlamaEngine({ files, context: 256, sequences: 2, threads: 1, gpuLayers: 0 })
}

function isAlive(pid: number): boolean {
  try {
    return process.kill(pid, 0)
  } catch {
    return false
  }
}

describe('loading', () => {
  test('reports its progress, and is done once however often it is asked for', async () => {
    const engine = engineWith(DEMO)
    const fractions: number[] = []
    const first = engine.start({ onProgress: (fraction) => fractions.push(fraction) })
    await Promise.all([first, engine.start()])
    const { process } = engine.description
    await engine.start()
    expect(engine.description.process).toBe(process)
    expect(fractions.at(-1)).toBe(1)
    expect(fractions).toEqual(fractions.toSorted((a, b) => a - b))
    await engine.stop()
    expect(isAlive(process)).toBe(false)
    await engine.stop()
    await expect(engine.memory()).rejects.toMatchObject({ code: 'DIED' })
  })

  test('can be given up, and started again', async () => {
    const engine = engineWith(DEMO)
    const controller = new AbortController()
    const loading = engine.start({ signal: controller.signal, onProgress: () => controller.abort() })
    await expect(loading).rejects.toMatchObject({ code: 'ABORTED' })
    await expect(engine.start({ signal: AbortSignal.abort() })).rejects.toMatchObject({ code: 'ABORTED' })
    await engine.start()
    expect(await runOne(engine, ROWS)).toHaveLength(1024)
    await engine.stop()
  })

  test('ends when the engine is stopped meanwhile', async () => {
    const engine = engineWith(DEMO)
    const progress = Promise.withResolvers<void>()
    const loading = engine.start({ onProgress: () => progress.resolve() })
    const outcome = expect(loading).rejects.toMatchObject({ code: 'ABORTED' })
    await progress.promise
    await engine.stop()
    await outcome
    await expect(engine.memory()).rejects.toMatchObject({ code: 'DIED' })
  })

  test('before it nothing works', async () => {
    const engine = engineWith(DEMO)
    expect(() => engine.description).toThrow(/not been started/)
    await expect(engine.run([ROWS])).rejects.toMatchObject({ code: 'INPUT' })
    await expect(engine.tokenize('a')).rejects.toMatchObject({ code: 'DIED' })
    await engine.stop()
  })
})

describe('files that are refused', () => {
  test('a missing one', async () => {
    const failure = { code: 'LOAD_FAILED', message: expect.stringMatching(/cannot be opened.*no\.gguf/) }
    await expect(engineWith(join(folder, 'no.gguf')).start()).rejects.toMatchObject(failure)
  })

  test('one that is no GGUF', async () => {
    const path = join(folder, 'text.gguf')
    await writeFile(path, 'This is no model at all, but it is long enough to be read as a header.')
    await expect(engineWith(path).start()).rejects.toMatchObject({ name: 'GgufError' })
  })

  test('one that was cut short', async () => {
    const path = join(folder, 'short.gguf')
    await copyFile(DEMO, path)
    await truncate(path, 1_000_000)
    await expect(engineWith(path).start()).rejects.toMatchObject({ name: 'GgufError' })
  })

  test('one whose tensors are not those of its architecture', async () => {
    const { metadata, tensors } = tinyModel('llama')
    const without = tensors.filter(({ name }) => name !== 'blk.3.ffn_up.weight')
    const path = await writeModelFile(folder, 'wrong', planGguf({ metadata, tensors: without }))
    const failure = { code: 'LOAD_FAILED', message: expect.stringContaining('blk.3.ffn_up.weight') }
    await expect(engineWith(path).start()).rejects.toMatchObject(failure)
  })

  test('a KV cache type that the model does not take', async () => {
    const files = [await writeModelFile(folder, 'heads', tinyModel('qwen3'))] // heads of 48
    const engine = new LlamaEngine({
      ...{ files, context: 256, sequences: 1, threads: 1, gpuLayers: 0 },
      ...{ kvTypeK: 'q8_0', kvTypeV: 'q8_0' }
    })
    await expect(engine.start()).rejects.toMatchObject({ code: 'LOAD_FAILED' })
    await engine.stop()
  })
})

describe('a killed process', () => {
  test('fails what was asked of it, is replaced, and the new one is empty', async () => {
    const engine = await startEngine()
    const states: string[] = []
    const restarted = Promise.withResolvers<void>()
    engine.onStateChange((state, detail) => {
      states.push(`${state}: ${detail}`)
      if (state === 'restarted') restarted.resolve()
    })
    const before = await runOne(engine, ROWS)
    const { process: pid } = engine.description
    process.kill(pid, 'SIGSTOP') // so that it can't answer before it is killed
    const pending = [engine.run([{ ...ROWS, position: 3 }]), engine.memory()]
    const outcomes = Promise.allSettled(pending)
    process.kill(pid, 'SIGKILL')
    for (const outcome of await outcomes) {
      expect(outcome).toMatchObject({ status: 'rejected', reason: { code: 'DIED' } })
    }
    await expect(engine.run([ROWS])).rejects.toMatchObject({ code: 'DIED' })
    await restarted.promise
    expect(states).toEqual([expect.stringMatching(/^died: signal SIGKILL/), 'restarted: after 100 ms'])
    expect(engine.description.process).not.toBe(pid)
    expect(await runOne(engine, ROWS)).toEqual(before)
    await engine.stop()
    expect(states).toHaveLength(2)
  })

  test('stays away when the engine is stopped before it is replaced', async () => {
    const engine = await startEngine()
    const died = Promise.withResolvers<void>()
    const states: string[] = []
    engine.onStateChange((state) => {
      states.push(state)
      died.resolve()
    })
    process.kill(engine.description.process, 'SIGKILL')
    await died.promise
    await engine.stop()
    await expect(engine.memory()).rejects.toMatchObject({ code: 'DIED' })
    await engine.start() // and comes back when it is asked to
    expect(await runOne(engine, ROWS)).toHaveLength(1024)
    await engine.stop()
    expect(states).toEqual(['died'])
  })

  test('is what becomes of one that hangs, when a restart is asked for', async () => {
    const engine = await startEngine()
    const states: string[] = []
    const restarted = Promise.withResolvers<void>()
    engine.onStateChange((state, detail) => {
      states.push(`${state}: ${detail}`)
      if (state === 'restarted') restarted.resolve()
    })
    const { process: pid } = engine.description
    process.kill(pid, 'SIGSTOP')
    const pending = engine.run([ROWS])
    engine.restart('it did not answer')
    engine.restart('asked for twice')
    await expect(pending).rejects.toMatchObject({
      code: 'DIED',
      message: expect.stringMatching(/it did not answer$/)
    })
    await restarted.promise
    expect(states).toEqual(['died: it did not answer', 'restarted: after 100 ms'])
    expect(await runOne(engine, ROWS)).toHaveLength(1024)
    await engine.stop()
    engine.restart('it is stopped')
    expect(states).toHaveLength(2)
    expect(isAlive(pid)).toBe(false)
  })

  test('ends by itself when its parent is gone', async () => {
    const worker = fileURLToPath(new URL('./worker.ts', import.meta.url))
    const child = spawn(process.execPath, [worker], { stdio: ['ignore', 'ignore', 'ignore', 'pipe'] })
    const exited = once(child, 'exit')
    child.stdio[3]?.destroy()
    expect(await exited).toEqual([0, null])
  })
})
