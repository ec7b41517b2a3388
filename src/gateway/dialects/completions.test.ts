import { describe, expect, test } from 'vitest'
import type { AnswerEvent, DrawnLog } from '../../chat/index.ts'
import {
  CARD,
  endEvent,
  play,
  ScriptedAnswers,
  START,
  sentEvents,
  TestGateway,
  textEvent
} from '../testing.ts'
import { completion, errorReply, modelList, modelReply } from './replies.ts'

const PATH = '/v1/completions'
const ASK = { model: 'tiny', prompt: 'Once upon' }

function log(text: string): DrawnLog {
  const token = { token: 1, bytes: new TextEncoder().encode(text), logProbability: -1 }
  return { ...token, alternatives: [token] }
}

/** Between texts, so that they are not told as one. */
const pause: AnswerEvent = { type: 'chain', change: 'leaving', message: '' }
const speak = play(
  START,
  textEvent(' a', [log(' a')]),
  pause,
  textEvent(' ', [log(' ')]),
  pause,
  textEvent('time', [log('time')]),
  endEvent()
)

async function whole(response: Response) {
  return completion.parse(await response.json())
}

describe('completions', () => {
  test('go on with a text', async () => {
    const gateway = new TestGateway(speak)
    const answer = await whole(await gateway.post(PATH, ASK))
    expect(answer.choices).toEqual([
      { index: 0, text: ' a time', logprobs: expect.anything(), finish_reason: 'stop' }
    ])
    expect(gateway.answers.asked[0]).toMatchObject({
      input: { kind: 'continuation', prompt: 'Once upon' },
      maxTokens: 16,
      alternatives: undefined
    })
  })

  test('have the old form of log probabilities, offsets counted over the whole text', async () => {
    const expected = {
      tokens: [' a', ' ', 'time'],
      token_logprobs: [-1, -1, -1],
      top_logprobs: [{ ' a': -1 }, { ' ': -1 }, { time: -1 }],
      text_offset: [0, 2, 3]
    }
    const gateway = new TestGateway(speak)
    const answer = await whole(await gateway.post(PATH, { ...ASK, logprobs: 1 }))
    expect(answer.choices[0]?.logprobs).toEqual(expected)
    const events = await sentEvents(await gateway.post(PATH, { ...ASK, logprobs: 1, stream: true }))
    const chunks = events.slice(0, -1).map(({ data }) => completion.parse(data))
    expect(chunks.flatMap(({ choices }) => choices[0]?.logprobs?.text_offset ?? [])).toEqual([0, 2, 3])
  })

  test('take several prompts, and repeat them if asked', async () => {
    const gateway = new TestGateway(speak)
    const body = { ...ASK, prompt: ['A', 'B'], n: 2, seed: 5, echo: true }
    const answer = await whole(await gateway.post(PATH, body))
    expect(answer.choices.map(({ index, text }) => [index, text])).toEqual([
      [0, 'A a time'],
      [1, 'A a time'],
      [2, 'B a time'],
      [3, 'B a time']
    ])
    expect(gateway.answers.asked.map(({ sampling }) => sampling.seed)).toEqual([5, 6, 5, 6])
    expect(answer.usage).toMatchObject({ prompt_tokens: 14, completion_tokens: 20, total_tokens: 34 })
    const events = await sentEvents(await gateway.post(PATH, { ...body, stream: true }))
    const texts = ['', '', '', '']
    for (const { data } of events.slice(0, -1)) {
      for (const { index, text } of completion.parse(data).choices) texts[index] += text
    }
    expect(texts).toEqual(answer.choices.map(({ text }) => text))
  })

  test.each([
    [[1, 2, 3], [Int32Array.of(1, 2, 3)]],
    [
      [[1], [2, 3]],
      [Int32Array.of(1), Int32Array.of(2, 3)]
    ]
  ])('take tokens (%#)', async (prompt, expected) => {
    const gateway = new TestGateway(speak)
    await gateway.post(PATH, { ...ASK, prompt })
    expect(gateway.answers.asked.map(({ input }) => input.kind === 'continuation' && input.prompt)).toEqual(
      expected
    )
  })

  test('end with usage if asked', async () => {
    const body = { ...ASK, stream: true, stream_options: { include_usage: true } }
    const events = await sentEvents(await new TestGateway(speak).post(PATH, body))
    expect(events.at(-1)?.data).toBe('[DONE]')
    expect(events.at(-2)?.data).toMatchObject({ choices: [], usage: { total_tokens: 12 } })
  })

  const cases: readonly [name: string, fields: object, param: string][] = [
    ['a suffix', { suffix: 'x' }, 'suffix'],
    ['ranking', { best_of: 2 }, 'best_of'],
    ['too many', { prompt: Array.from({ length: 17 }, () => 'x') }, 'prompt'],
    ['mixed prompts', { prompt: ['a', 1] }, 'prompt[1]'],
    ['token ids below zero', { prompt: [-1] }, 'prompt[0]'],
    ['echoed tokens', { prompt: [1], echo: true }, 'echo'],
    ['echoed log probabilities', { logprobs: 1, echo: true }, 'echo']
  ]
  test.each(cases)('refuse %s', async (_, fields, param) => {
    const response = await new TestGateway(speak).post(PATH, { ...ASK, ...fields })
    expect([response.status, errorReply.parse(await response.json()).error.param]).toEqual([400, param])
  })
})

test('embeddings are refused for good', async () => {
  const response = await new TestGateway(speak).post('/v1/embeddings', { model: 'tiny', input: 'x' })
  expect([response.status, response.headers.get('x-should-retry')]).toEqual([501, 'false'])
  expect(errorReply.parse(await response.json()).error.code).toBe('not_supported')
})

describe('models', () => {
  const holed = {
    ...CARD,
    id: 'b',
    name: 'demo/holed',
    aliases: [],
    isCovered: false,
    missing: [[1, 2]] as const
  }
  const gateway = new TestGateway(new ScriptedAnswers(speak, [CARD, holed]))

  test('that answer are listed; all of them for who looks closer', async () => {
    const names = async (headers: Record<string, string>) => {
      const response = await gateway.app.request('/v1/models', { headers })
      return modelList.parse(await response.json()).data.map(({ id }) => id)
    }
    expect(await names({})).toEqual(['demo/tiny'])
    expect(await names({ 'x-shoal-details': '1' })).toEqual(['demo/tiny', 'demo/holed'])
  })

  test.each(['demo/tiny', 'demo%2Ftiny', 'tiny'])('are found as %s', async (name) => {
    const response = await gateway.app.request(`/v1/models/${name}`)
    expect(modelReply.parse(await response.json()).id).toBe('demo/tiny')
  })

  test('that nobody knows are 404', async () => {
    const response = await gateway.app.request('/v1/models/other')
    expect([response.status, errorReply.parse(await response.json()).error.code]).toEqual([
      404,
      'model_not_found'
    ])
  })

  test('are listed in Anthropic’s form to its clients', async () => {
    const response = await gateway.app.request('/v1/models', {
      headers: { 'anthropic-version': '2023-06-01' }
    })
    expect(await response.json()).toEqual({
      data: [
        { type: 'model', id: 'demo/tiny', display_name: 'demo/tiny', created_at: '1970-01-01T00:00:00.000Z' }
      ],
      has_more: false,
      first_id: 'demo/tiny',
      last_id: 'demo/tiny'
    })
  })
})
