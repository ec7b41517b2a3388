import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import {
  afterAll,
  afterEach,
  beforeAll,
  beforeEach,
  describe,
  expect,
  type MockInstance,
  test,
  vi
} from 'vitest'
import { type OpenSwarm, planCommand } from './plan.ts'

const DEMO = 'models/demo.gguf'
let folder: string
let file: string
let printed: MockInstance<typeof console.log>
let said: MockInstance<typeof console.error>

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'shoal-plan-'))
  file = join(folder, 'machines.json')
})
beforeEach(() => {
  printed = vi.spyOn(console, 'log').mockImplementation(() => {})
  said = vi.spyOn(console, 'error').mockImplementation(() => {})
})
afterEach(() => {
  vi.restoreAllMocks()
  process.exitCode = undefined
})
afterAll(() => rm(folder, { recursive: true }))

async function planWith(content: unknown, ...flags: string[]): Promise<string> {
  await writeFile(file, typeof content === 'string' ? content : JSON.stringify(content))
  await planCommand().parseAsync([DEMO, '--machines', file, ...flags], { from: 'user' })
  return printed.mock.calls.map(([line]) => line).join('\n')
}

const MACHINES = [
  { name: 'a', memory: '1GiB', decodeMsPerBlock: 1, prefillMsPerBlock: 0.1 },
  { name: 'b', memory: '1GiB', decodeMsPerBlock: 4 }
]

describe('shoal plan', () => {
  test('plans for the machines of a file', async () => {
    const json = JSON.parse(await planWith({ machines: MACHINES, consumer: { a: 0 } }, '--json'))
    expect(json.spans).toMatchObject([{ machine: 'a', start: 0, end: 8 }])
    expect(json.dropped).toEqual(['b'])
    expect(json.tokensPerSecond).toBeGreaterThan(50)
  })

  test('says so in words', async () => {
    const text = await planWith({ machines: MACHINES })
    expect(text).toMatch(/^a {2}blocks 0-8 .* ms per token$/m)
    expect(text).toContain('not used, as the chain is no faster with them: b')
    expect(text).toMatch(/[\d.]+ tokens per second for one session, prompts at \d+/)
  })

  test('takes links both ways, and many sessions as an objective', async () => {
    const alike = MACHINES.map((machine) => ({ ...machine, decodeMsPerBlock: 1 }))
    const links = [{ from: 'b', to: 'a', ms: 5 }]
    const consumer = { a: 0, b: 0 }
    const content = { machines: alike, links, consumer }
    const json = JSON.parse(await planWith(content, '--json', '--objective', 'throughput'))
    expect(json.spans).toHaveLength(2)
    const { tokensPerSecond } = json
    const slow = alike.map((machine) => ({ ...machine, memory: '1MB' }))
    await expect(planWith({ ...content, machines: slow })).rejects.toThrow("can't hold")
    expect(tokensPerSecond).toBeGreaterThan(100)
  })

  test.each([
    ['nonsense', 'is no JSON'],
    [{ machines: [] }, 'machines: '],
    [{ machines: [{ ...MACHINES[0], memory: '8 potatoes' }] }, 'machines.0.memory'],
    [{ machines: [{ ...MACHINES[0], decodeMsPerBlock: 0 }] }, 'machines.0.decodeMsPerBlock'],
    [{ machines: MACHINES, links: [{ from: 'a', to: 'c', ms: 1 }] }, 'a link of c, but no such machine'],
    [{ machines: [MACHINES[0], MACHINES[0]] }, 'two machines have the same name']
  ])('says what is wrong with a file: %#', async (content, reason) => {
    await expect(planWith(content)).rejects.toThrow(reason)
  })

  test('without machines says what a file of them looks like', async () => {
    const nobody: OpenSwarm = async () => ({
      ...{ machines: [], linkMs: () => 1, consumerMs: () => 1 },
      assign: async () => ({ accepted: false, message: '' }),
      close: async () => {}
    })
    const planned = planCommand(async () => nobody).parseAsync([DEMO], { from: 'user' })
    await expect(planned).rejects.toThrow('"decodeMsPerBlock"')
  })

  test('tells the nodes of a swarm, and who does not take its part', async () => {
    const asked: string[] = []
    let isClosed = false
    const openSwarm: OpenSwarm = async () => ({
      machines: ['one', 'two'].map((name) => ({
        ...{ name: `12D3Koo-${name}`, memoryBytes: 1_500_000, decodeMsPerBlock: 1, prefillMsPerBlock: 1 }
      })),
      ...{ linkMs: () => 1, consumerMs: () => 1 },
      assign: async (machine, start, end) => {
        asked.push(`${start}-${end}`)
        return { accepted: machine.endsWith('one'), message: 'it is busy' }
      },
      close: async () => {
        isClosed = true
      }
    })
    await planCommand(async () => openSwarm).parseAsync([DEMO, '--context', '256', '--apply'], {
      from: 'user'
    })
    expect(asked).toHaveLength(2)
    const lines = said.mock.calls.map(([line]) => line).sort()
    expect(lines[0]).toMatch(/^3Koo-one loads blocks \d-\d$/)
    expect(lines[1]).toMatch(/^3Koo-two does not take blocks \d-\d: it is busy$/)
    expect(process.exitCode).toBe(1)
    expect(isClosed).toBe(true)
  })
})
