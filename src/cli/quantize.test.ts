// `shoal quantize` and `shoal eval` as people run them.
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdir, mkdtemp, readdir, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { text as readAll } from 'node:stream/consumers'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { writeModelFile } from '../../test/models/file.ts'
import { tinyModel } from '../../test/models/index.ts'

const SHOAL = fileURLToPath(new URL('../../bin/shoal.js', import.meta.url))

let folder: string
let model: string
let text: string

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'shoal-quantize-'))
  model = await writeModelFile(folder, 'model', tinyModel('llama-wide', { type: 'F16' }))
  text = join(folder, 'text.txt')
  await writeFile(text, 'the one and he is in the end of it '.repeat(2000))
})

afterAll(() => rm(folder, { recursive: true, force: true }))

function start(...args: string[]): ChildProcess {
  return spawn(process.execPath, [SHOAL, ...args], { stdio: 'pipe' })
}

async function shoal(...args: string[]): Promise<{ code: number; stdout: string; stderr: string }> {
  const child = start(...args)
  const [stdout, stderr, [code]] = await Promise.all([
    readAll(child.stdout as NodeJS.ReadableStream),
    readAll(child.stderr as NodeJS.ReadableStream),
    once(child, 'close')
  ])
  return { code: code as number, stdout, stderr }
}

test('a model is calibrated, quantized and evaluated', async () => {
  const small = join(folder, 'small.gguf')
  const matrix = join(folder, 'matrix.gguf')
  const calibrate = [
    '--calibrate',
    text,
    '--chunks',
    '2',
    '--context',
    '64',
    '--save-imatrix',
    matrix,
    '--threads',
    '1'
  ]
  const quantized = await shoal('quantize', model, small, '--type', 'q4_k', ...calibrate, '--json')
  expect(quantized).toMatchObject({ code: 0, stderr: expect.stringContaining('calibrating') })
  expect(JSON.parse(quantized.stdout)).toMatchObject({ files: [small], types: { F32: 13 }, fallbacks: [] })
  const again = await shoal(
    'quantize',
    model,
    join(folder, 'again.gguf'),
    '--type',
    'IQ3_S',
    '--imatrix',
    matrix
  )
  expect(again).toMatchObject({ code: 0, stdout: expect.stringContaining('bits per weight') })
  const evaluate = [
    'eval',
    small,
    '--text',
    text,
    '--reference',
    model,
    '--context',
    '64',
    '--chunks',
    '4',
    '--threads',
    '1'
  ]
  const table = await shoal(...evaluate)
  expect(table).toMatchObject({
    code: 0,
    stdout: expect.stringMatching(/^perplexity .*\n.*\nKL divergence, mean/)
  })
  const { stdout } = await shoal(...evaluate, '--json')
  expect(JSON.parse(stdout)).toMatchObject({ chunks: 4, scored: 4 * 31, reference: { sameTop: {} } })
})

test('wrong flags are explained', async () => {
  const quantize = (...flags: string[]): ReturnType<typeof shoal> =>
    shoal('quantize', model, join(folder, 'wrong.gguf'), ...flags)
  const wrong = [
    [await quantize('--type', 'Q4_9'), 'It must be one of'],
    [await quantize(), '--type'],
    [await quantize('--type', 'Q4_0', '--chunks', '4'), '--chunks is for --calibrate'],
    [await quantize('--type', 'Q4_0', '--imatrix', text, '--calibrate', text), 'leave one out'],
    [await shoal('eval', model), '--text']
  ] as const
  for (const [result, message] of wrong) {
    expect(result).toMatchObject({ code: 2, stderr: expect.stringContaining(message) })
  }
})

test('Ctrl-C ends it, and leaves nothing', async () => {
  const outputs = join(folder, 'outputs')
  await mkdir(outputs)
  const child = start('quantize', model, join(outputs, 'small.gguf'), '--type', 'Q4_0', '--calibrate', text)
  await once(child.stderr as NodeJS.ReadableStream, 'data') // that it has begun
  child.kill('SIGINT')
  const [code] = await once(child, 'close')
  expect(code).toBe(130)
  expect(await readdir(outputs)).toEqual([])
})
