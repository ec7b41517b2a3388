// Over a real node, which hosts all of the demo model and asks itself.
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { eventually } from '../../test/swarm.ts'
import { Node } from '../node/node.ts'
import { answersOf } from '../node/serving.ts'
import type { AnswerEvent, AnswerOptions, AnswerRequest, Answers, Message } from './index.ts'

const ENGINE = { context: 1024, sessions: 4, threads: 1, gpuLayers: 0, kvType: 'f16' } as const
const FREE = { sequences: ENGINE.sessions, positions: ENGINE.context }

let folder: string
let node: Node
let answers: Answers

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'shoal-answers-'))
  const hosting = { ...ENGINE, model: 'models/demo.gguf' }
  node = new Node({ dataDir: folder, listen: ['/ip4/127.0.0.1/tcp/0'], peers: [], hosting })
  await node.start()
  answers = answersOf(node)
  await answers.start()
})

afterAll(async () => {
  await answers.stop()
  await node.stop()
  await rm(folder, { recursive: true, force: true })
})

type More = Partial<Omit<AnswerRequest, 'input'>> & { readonly messages?: readonly Message[] }

function request(text: string, { messages = [], ...more }: More = {}): AnswerRequest {
  return {
    ...{ model: 'demo', maxTokens: 24, stop: [], sampling: { temperature: 0 }, format: { kind: 'text' } },
    input: {
      ...{ kind: 'conversation', tools: [], toolChoice: 'auto', parallelCalls: true },
      messages: [...messages, { role: 'user', text }]
    },
    ...more
  }
}

function ask(asked: AnswerRequest, options: Partial<AnswerOptions> = {}): AsyncGenerator<AnswerEvent, void> {
  return answers.answer(asked, { id: 'test', owner: 'me', signal: new AbortController().signal, ...options })
}

async function whole(asked: AnswerRequest, options?: Partial<AnswerOptions>) {
  const events = await Array.fromAsync(ask(asked, options))
  const end = events.at(-1)
  if (end?.type !== 'end') throw new Error('the answer has no end')
  const texts = events.flatMap((event) => (event.type === 'text' ? [event] : []))
  return {
    ...end,
    text: texts.map(({ text }) => text).join(''),
    logs: texts.flatMap(({ logs }) => logs),
    events
  }
}

test('models are found by name, alias and id, and mistyped ones are guessed', async () => {
  const [card] = await answers.models()
  expect(card).toMatchObject({ name: 'demo', isCovered: true, missing: [], context: 1024, nodes: 1 })
  for (const name of [card?.id ?? '', 'DEMO', card?.aliases[0] ?? '']) {
    expect(await answers.model(name)).toEqual(card)
  }
  await expect(answers.model('demp')).rejects.toMatchObject({
    ...{ code: 'UNKNOWN_MODEL', message: expect.stringContaining('Did you mean "demo"?') }
  })
  await expect(whole(request('x', { model: '/etc/passwd' }))).rejects.toMatchObject({ code: 'UNKNOWN_MODEL' })
})

test('an answer says how it began, what it says, and how it ended', async () => {
  const { events, text, reason, usage } = await whole(request('Tell me a story about a fish.'))
  expect(events[0]).toMatchObject({ type: 'start', model: 'demo', hops: [{ start: 0, end: 8 }] })
  expect(text).toContain('Once upon a time')
  expect(reason).toBe('length')
  expect(usage).toMatchObject({ promptTokens: 12, answerTokens: 24, reasoningTokens: 0 })
})

test('a conversation that goes on is computed once, for its owner only', async () => {
  const question = 'Tell me a long story about a dog, a cat, a bird, a fish, a frog and a very small mouse.'
  const first = await whole(request(question))
  const messages: Message[] = [
    { role: 'user', text: question },
    { role: 'assistant', text: first.text }
  ]
  const on = request('And then?', { messages })
  expect((await whole(on, { owner: 'another' })).usage.cachedTokens).toBe(0)
  const { usage } = await whole(on)
  expect(usage.cachedTokens).toBeGreaterThanOrEqual(first.usage.promptTokens)
  expect(usage.cachedTokens).toBeLessThan(usage.promptTokens)
})

test('ends before a stop string, wherever tokens cut it', async () => {
  const { text } = await whole(request('Tell me a story about a fish.'))
  const stop = text.slice(9, 20)
  const stopped = await whole(request('Tell me a story about a fish.', { stop: ['nowhere', stop] }))
  expect(stopped).toMatchObject({ reason: 'stop', stop, text: text.slice(0, 9) })
})

test('tells how likely each token was, of the text that it tells', async () => {
  const { text, logs } = await whole(request('Tell me a story about a fish.', { alternatives: 2 }))
  expect(logs).toHaveLength(24)
  expect(Buffer.concat(logs.map(({ bytes }) => bytes)).toString()).toBe(text)
  for (const { token, logProbability, alternatives } of logs) {
    expect(alternatives).toHaveLength(2)
    expect(alternatives[0]).toMatchObject({ token, logProbability }) // greedy
  }
})

test('more conversations than there is room for close those that rest', async () => {
  for (let index = 0; index < 2 * ENGINE.sessions; index++) {
    const { usage } = await whole(request(`${index} Tell me of a fish.`, { maxTokens: 100 }))
    expect(usage.cachedTokens).toBe(0)
  }
})

describe('what can’t be is refused:', () => {
  test('prompts that are too long, with both lengths', async () => {
    await expect(whole(request('fish '.repeat(2_000)))).rejects.toMatchObject({
      code: 'TOO_LONG',
      data: { context: 1024, promptTokens: expect.any(Number) }
    })
  })

  test('ids beyond the vocabulary, and no prompt at all', async () => {
    for (const prompt of [Int32Array.of(5, 99_999), Int32Array.of(-1), new Int32Array(0)]) {
      const asked = { ...request(''), input: { kind: 'continuation', prompt } as const }
      await expect(whole(asked)).rejects.toMatchObject({ code: 'INPUT', data: { field: 'input' } })
    }
  })

  test('grammars that do not parse', async () => {
    const asked = request('x', { format: { kind: 'grammar', grammar: 'root ::= (' } })
    await expect(whole(asked)).rejects.toMatchObject({ code: 'INPUT' })
  })
})

describe('whoever goes away', () => {
  // So that nothing rests.
  beforeAll(() => answers.stop())

  test.each(['signal', 'reader'])('frees everything (%s)', async (how) => {
    const own = answersOf(node)
    const end = new AbortController()
    const answer = own.answer(request('Tell me a story.', { maxTokens: 900 }), {
      ...{ id: how, owner: how, signal: end.signal }
    })
    let pieces = 0
    const reading = (async () => {
      for await (const { type } of answer) {
        if (type !== 'text' || ++pieces < 3) continue
        if (how === 'reader') break
        end.abort(new Error('gone'))
      }
    })()
    if (how === 'signal') await expect(reading).rejects.toThrow('gone')
    else await reading
    await eventually(() => expect(node.stage?.free).toEqual(FREE), 1_000)
    await own.stop()
  })
})
