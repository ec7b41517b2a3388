// Finding, refusing, loading and freeing drafts; and answers of real nodes with and without one.
import { copyFile, mkdir, mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { TestHub } from '../../test/hub.ts'
import { writeModelFile } from '../../test/models/file.ts'
import { tinyModel } from '../../test/models/index.ts'
import { eventually } from '../../test/swarm.ts'
import { emulate, profileNamed } from '../../test/wan/index.ts'
import type { Answers } from '../chat/index.ts'
import type { Metadata } from '../gguf/index.ts'
import { type Drafter, defaultSampler } from '../session/index.ts'
import { ManualClock } from '../swarm/testing-clock.ts'
import { Drafts, type SpeculationSettings } from './drafts.ts'
import { misfit } from './drafts-fit.ts'
import { namesIn } from './embedded-names.ts'
import type { Library } from './library.ts'
import { Node } from './node.ts'
import { answersOf } from './serving.ts'
import { libraryIn } from './testing.ts'

const NEVER = new AbortController().signal
/** "Once upon", as ids of the demo model: no n-gram of it repeats. */
const IDS = [1, 40, 71, 90, 2, 50]

let folder: string
let library: Library
let clock: ManualClock
let said: string[]
let made: Drafts[]

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'shoal-drafts-'))
  library = libraryIn(join(folder, 'store'))
  clock = new ManualClock()
  said = []
  made = []
})

afterEach(async () => {
  await Promise.all(made.map((drafts) => drafts.stop()))
  await library.stop()
  await rm(folder, { recursive: true, force: true })
})

function drafts(settings: SpeculationSettings = {}, freeBytes = 8e9): Drafts {
  const components = { library, names: namesIn(library), clock, freeMemory: () => freeBytes }
  const all = new Drafts({ ...components, report: (message) => said.push(message) }, settings)
  made.push(all)
  return all
}

async function drafterFor(all: Drafts, model = 'demo'): Promise<Drafter> {
  const { id } = await library.find(model)
  return all.drafterFor(id, defaultSampler()) as Drafter
}

/** Asks until there is a guess. */
async function guess(drafter: Drafter): Promise<void> {
  await expect.poll(() => drafter.draft(IDS, 1, NEVER, IDS.length), { timeout: 20_000 }).toHaveLength(1)
}

function otherModel(): Promise<string> {
  return writeModelFile(folder, 'other', tinyModel('llama'))
}

test('the embedded model has a draft: loaded once, and freed when nobody has used it for a minute', async () => {
  const all = drafts()
  const [one, other] = [await drafterFor(all), await drafterFor(all)]
  expect(await one.draft(IDS, 1, NEVER, IDS.length)).toEqual([]) // nobody waits for its engine
  await Promise.all([guess(one), guess(other)])
  expect(all.loaded).toEqual(['demo:draft-q8_0'])
  await one.close()
  await clock.advance(120_000)
  await guess(other)
  await other.close()
  await clock.advance(59_000)
  expect(all.loaded).toHaveLength(1)
  await clock.advance(2_000)
  expect(all.loaded).toEqual([])
  expect(said).toEqual([])
})

test('one that is used again in time is kept', async () => {
  const all = drafts()
  const first = await drafterFor(all)
  await guess(first)
  await first.close()
  await clock.advance(59_000)
  const second = await drafterFor(all)
  await guess(second)
  await clock.advance(120_000)
  expect(all.loaded).toHaveLength(1)
  await second.close()
})

test('where there is none, nothing is loaded, and nobody is told', async () => {
  const path = await otherModel()
  for (const [all, model] of [
    [drafts(), path],
    [drafts({ draft: 'none' }), 'demo']
  ] as const) {
    const drafter = await drafterFor(all, model)
    for (let ask = 0; ask < 3; ask++) expect(await drafter.draft(IDS, 4, NEVER, IDS.length)).toEqual([])
    await drafter.close()
    await all.stop()
    expect(all.loaded).toEqual([])
  }
  expect(said).toEqual([])
})

test('switched off, there is nobody to guess', async () => {
  const { id } = await library.find('demo')
  expect(drafts({ isOff: true }).drafterFor(id, defaultSampler())).toBeUndefined()
})

test('one that was named is used, wherever it is', async () => {
  const path = join(folder, 'mine.gguf')
  await copyFile('models/demo-draft.gguf', path)
  const all = drafts({ draft: path })
  const drafter = await drafterFor(all)
  await guess(drafter)
  expect(all.loaded).toEqual([path])
  await drafter.close()
})

test('one on the hub that was named is fetched as a whole', async () => {
  const repository = join(folder, 'hub', 'someone', 'drafts')
  await mkdir(repository, { recursive: true })
  await copyFile('models/demo-draft.gguf', join(repository, 'small.gguf'))
  const hub = await TestHub.start({ folder: join(folder, 'hub') })
  await library.stop()
  library = libraryIn(join(folder, 'store'), { http: { endpoint: hub.endpoint, wait: async () => {} } })
  const draft = 'hf:someone/drafts/small.gguf'
  const all = drafts({ draft })
  const drafter = await drafterFor(all)
  await guess(drafter)
  expect(all.loaded).toEqual([draft])
  await drafter.close()
  await hub.close()
  expect(said).toEqual([])
})

describe('it is refused once, with what to do', () => {
  async function refusal(settings: SpeculationSettings, freeBytes?: number): Promise<string | undefined> {
    const all = drafts(settings, freeBytes)
    for (let session = 0; session < 2; session++) {
      const drafter = await drafterFor(all)
      await drafter.draft(IDS, 4, NEVER, IDS.length)
      await eventually(() => expect(said.length).toBeGreaterThan(0))
      expect(await drafter.draft(IDS, 4, NEVER, IDS.length)).toEqual([])
      await drafter.close()
    }
    expect([all.loaded, said.length]).toEqual([[], 1])
    return said[0]
  }

  test('with another tokenizer', async () => {
    const message = await refusal({ draft: await otherModel() })
    expect(message).toMatch(/other\.gguf can't write ahead for Shoal demo: .* "llama" .* "gpt2": name one/)
  })

  test('where it is not', async () => {
    expect(await refusal({ draft: join(folder, 'none.gguf') })).toMatch(/Cannot read the model/)
  })

  test('without memory for it', async () => {
    expect(await refusal({}, 100e6)).toMatch(/^demo:draft-q8_0 .* takes 135 MB, .* may have 50 MB/)
  })
})

describe('token ids mean the same', () => {
  function vocabulary(tokens: readonly string[], types: readonly number[] = [], eos?: number): Metadata {
    const metadata: Metadata = new Map()
    metadata.set('tokenizer.ggml.model', { type: 'string', value: 'gpt2' })
    metadata.set('tokenizer.ggml.tokens', { type: 'array', itemType: 'string', value: tokens })
    metadata.set('tokenizer.ggml.token_type', { type: 'array', itemType: 'i32', value: types })
    if (eos !== undefined) metadata.set('tokenizer.ggml.eos_token_id', { type: 'u32', value: eos })
    return metadata
  }
  const MODEL = vocabulary(['a', 'b', 'c'], [1, 1, 1], 2)

  test.each([
    ['equal', vocabulary(['a', 'b', 'c']), undefined],
    ['padded', vocabulary(['a', 'b', 'c', '[PAD3]'], [1, 1, 1, 5], 2), undefined],
    ['smaller', vocabulary(['a', 'b']), undefined],
    ['with a token that is never used', vocabulary(['a', 'b', '[PAD2]'], [1, 1, 5]), undefined],
    ['other', vocabulary(['a', 'x\u0007', 'c']), 'token 1 is "x?" there and not "b"'],
    ['with another end', vocabulary(['a', 'b', 'c'], [], 1), 'its eos_token_id is 1 and not 2'],
    ['empty', new Map(), 'one of them has no vocabulary']
  ])('in a vocabulary that is %s', (_, draft, why) => {
    expect(misfit(MODEL, draft)).toBe(why)
  })
})

test('answers over a long way are the same with a draft and without', async () => {
  const links = emulate(profileNamed('city'))
  const engine = { context: 512, sessions: 4, threads: 1, gpuLayers: 0, kvType: 'f16' } as const
  const hosting = { ...engine, model: 'models/demo.gguf' }
  const listen = ['/ip4/127.0.0.1/tcp/0']
  const provider = new Node({ dataDir: join(folder, 'provider'), listen, peers: [], hosting })
  const nodes: Node[] = [provider]
  const answers: Answers[] = []
  try {
    await provider.start()
    for (const speculation of [{}, { isOff: true }]) {
      const dataDir = join(folder, `consumer-${nodes.length}`)
      const peers = provider.host.addresses
      const node = new Node({ dataDir, listen: [], peers, ephemeral: true, speculation })
      nodes.push(node)
      await node.start()
      await node.joined
      answers.push(answersOf(node))
    }
    const [, guessing, other] = nodes
    await answerOf(answers[0], 'a dog')
    await eventually(() => expect(guessing?.drafts.loaded).toEqual(['demo:draft-q8_0']))
    const [first, second] = await Promise.all(answers.map((each) => answerOf(each, 'a little fish')))
    expect(first?.text).toBe(second?.text)
    expect(first?.guesses?.right).toBeGreaterThan(0)
    expect(second?.guesses).toBeUndefined()
    expect(other?.drafts.loaded).toEqual([])
    expect(await guessing?.status()).toMatchObject({ drafts: ['demo:draft-q8_0'] })
  } finally {
    await Promise.all(answers.map((each) => each.stop()))
    await Promise.all(nodes.reverse().map((node) => node.stop()))
    links.profile = profileNamed('none')
  }
})

async function answerOf(answers: Answers | undefined, topic: string) {
  const messages = [{ role: 'user', text: `Tell me a story about ${topic}.` }] as const
  const events = answers?.answer(
    {
      ...{ model: 'demo', maxTokens: 40, stop: [], sampling: { temperature: 0 }, format: { kind: 'text' } },
      input: { kind: 'conversation', messages, tools: [], toolChoice: 'auto', parallelCalls: true }
    },
    { id: 'test', owner: 'me', signal: NEVER, waitMs: 20_000 }
  )
  let text = ''
  for await (const event of events ?? []) {
    if (event.type === 'text') text += event.text
    if (event.type === 'end') return { text, guesses: event.guesses }
  }
  return undefined
}
