// A conversation as somebody types it: streams in, streams out, and answers from a script.
import { mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { PassThrough } from 'node:stream'
import { Option } from 'commander'
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import { AnswerError, type AnswerEvent, type AnswerRequest, type ModelCard } from '../../chat/index.ts'
import { decimal, integer } from '../options.ts'
import { Dialogue, Lines, Repl } from './index.ts'

const OPTIONS = [
  new Option('--temperature <number>').argParser(decimal(0, 100)),
  new Option('--max-tokens <count>').argParser(integer(1, 1_000))
]
const CARD: ModelCard = {
  ...{ id: 'f'.repeat(64), name: 'Fish', aliases: [], blockCount: 8, context: 512, isCovered: true },
  ...{ missing: [], nodes: 2, licence: 'MIT' }
}
const CTRL_C = '\u0003'
const CTRL_D = '\u0004'
const UP = '\u001b[A'

function text(words: string): AnswerEvent {
  return { type: 'text', text: words, logs: [] }
}

function end(reason: 'stop' | 'length' = 'stop'): AnswerEvent {
  return {
    ...{ type: 'end', reason },
    usage: { promptTokens: 7, cachedTokens: 5, answerTokens: 11, reasoningTokens: 0 },
    timings: { templateMs: 1, tokenizeMs: 1, chainMs: 1, firstTokenMs: 40, decodeMs: 500 },
    guesses: { guessed: 10, right: 6 },
    hops: [{ peer: '12D3KooWabcdefgh', start: 0, end: 8, queueMs: 1, computeMs: 2, bytesOut: 4 }]
  }
}

type Script = (request: AnswerRequest, signal: AbortSignal) => AsyncGenerator<AnswerEvent, void>

/** Says back what it was asked. */
async function* echo({ input }: AnswerRequest): AsyncGenerator<AnswerEvent, void> {
  if (input.kind !== 'conversation') throw new Error('no conversation')
  const last = input.messages.at(-1)?.text ?? ''
  yield text(`<${last}>`)
  yield end()
}

let folder: string

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'shoal-repl-'))
})

afterEach(() => rm(folder, { recursive: true }))

interface Talk {
  readonly type: (keys: string) => void
  /** Of the answers. */
  readonly shown: () => string
  /** What else was said, line by line. */
  readonly said: string[]
  readonly requests: AnswerRequest[]
  readonly over: Promise<void>
  /** As a Ctrl-C that reaches the process. */
  readonly interrupt: () => void
}

async function talk(script: Script = echo, { terminal = false } = {}): Promise<Talk> {
  const [input, echoed, output] = [new PassThrough(), new PassThrough(), new PassThrough()]
  echoed.resume()
  let shown = ''
  output.setEncoding('utf8').on('data', (words) => {
    shown += words
  })
  const [said, requests]: [string[], AnswerRequest[]] = [[], []]
  const answers = {
    models: async () => [CARD, { ...CARD, name: 'Whale', isCovered: false }],
    model: async (name: string) => {
      if (name !== 'fish') throw new AnswerError('UNKNOWN_MODEL', `Nobody knows ${name}.`)
      return CARD
    },
    answer: (request: AnswerRequest, { signal }: { signal: AbortSignal }) => {
      requests.push(request)
      return script(request, signal)
    }
  }
  const dialogue = new Dialogue(answers, {
    ...{ model: 'fish', parameters: { temperature: 0 }, format: { kind: 'text' }, waitMs: 0 }
  })
  const { signal } = new AbortController()
  let controller = new AbortController()
  const lines = await Lines.open({
    input,
    output: echoed,
    terminal,
    historyPath: join(folder, 'history'),
    signal
  })
  const repl = new Repl({
    ...{
      dialogue,
      lines,
      output,
      say: (message) => void said.push(message),
      options: OPTIONS,
      verbose: false
    },
    apart: (work) => {
      controller = new AbortController()
      return work(controller.signal)
    },
    signal
  })
  return {
    ...{ type: (keys) => void input.write(keys), shown: () => shown, said, requests, over: repl.run() },
    interrupt: () => controller.abort()
  }
}

/** What all of these keys lead to. */
async function typed(keys: string, script?: Script): Promise<Talk> {
  const conversation = await talk(script)
  conversation.type(keys)
  await conversation.over
  return conversation
}

test('questions are one conversation, until somebody leaves', async () => {
  const { shown, said, requests } = await typed('one\n\ntwo\n/bye\nthree\n')
  expect([shown(), said]).toEqual(['<one>\n<two>\n', []])
  expect(requests[1]?.input).toMatchObject({
    messages: [
      { role: 'user', text: 'one' },
      { role: 'assistant', text: '<one>' },
      { role: 'user', text: 'two' }
    ]
  })
  expect(requests[0]).toMatchObject({ model: 'fish', sampling: { temperature: 0 }, format: { kind: 'text' } })
})

test.each([
  ['"""a\n  b\n"""\n/bye\n', '<a\n  b\n>\n'],
  ['"""\n/help\n"""\n/bye\n', '</help\n>\n'],
  ['"""a"""\n/bye\n', '<a>\n'],
  ['a\\\nb\\\nc\n/bye\n', '<a\nb\nc>\n'],
  ['""""""\n\\\n\n/bye\n', '']
])('several lines: %j', async (keys, answer) => {
  expect((await typed(keys)).shown()).toBe(answer)
})

describe('commands', () => {
  test('set, system, clear, show, verbose', async () => {
    const { said, requests } = await typed(
      '/set temperature 0.7\n/set max_tokens 9\n/system Be brief.\none\n/clear\n/system\n/verbose\ntwo\n/show\n/bye\n'
    )
    expect(requests[0]).toMatchObject({ maxTokens: 9, sampling: { temperature: 0.7 } })
    expect(requests[0]?.input).toMatchObject({
      messages: [{ role: 'system', text: 'Be brief.' }, { text: 'one' }]
    })
    expect(requests[1]?.input).toMatchObject({ messages: [{ role: 'user', text: 'two' }] })
    const all = said.join('\n')
    expect(all).toMatch(
      /\n1 +abcdefgh +0-8 +3\.00 +4\n\n11 tokens, 20\.0 .*\nprompt of 7 tokens, 5 of them computed before\n6 of 10 guesses were right\n/
    )
    expect(all).toMatch(
      /\nmodel +Fish\n[\s\S]*blocks +8, on 2 nodes\n[\s\S]*temperature +0\.7\n[\s\S]*messages +2$/
    )
  })

  test('save and load', async () => {
    const path = join(folder, 'talk.json')
    await typed(`/system S\none\n/save ${path}\n/bye\n`)
    const { said, requests } = await typed(`/load ${path}\ntwo\n/bye\n`)
    expect(said).toEqual(['Going on with fish, after 2 messages.'])
    expect(requests[0]?.input).toMatchObject({
      messages: [{ role: 'system', text: 'S' }, { text: 'one' }, { text: '<one>' }, { text: 'two' }]
    })
  })

  test('model', async () => {
    const { said, requests } = await typed('/model\n/model whale\n/model fish\none\n/bye\n')
    expect(said).toEqual([
      'Fish   can be asked',
      'Whale  nobody hosts all of it',
      'error: Nobody knows whale.',
      'Going on with Fish.'
    ])
    expect(requests[0]?.model).toBe('fish')
  })

  test.each([
    ['/hepl', /^error: There is no \/hepl\. Did you mean \/help\?/],
    ['/set temprature 1', /no parameter temprature\. Did you mean temperature\?/],
    ['/set temperature hot', /temperature: It must be a number from 0 to 100/],
    ['/set temperature', /temperature: It must be a number/],
    ['/set', /It goes: \/set NAME VALUE/],
    ['/save', /It goes: \/save FILE/],
    ['/load nowhere.json', /ENOENT/],
    ['/constructor', /There is no \/constructor/]
  ])('%s is refused, and the conversation goes on', async (line, says) => {
    const { said, shown } = await typed(`${line}\none\n/bye\n`)
    expect(said[0]).toMatch(says)
    expect(shown()).toBe('<one>\n')
  })

  test('a file that is no conversation is not loaded', async () => {
    const path = join(folder, 'bad.json')
    await writeFile(path, '{"model":"x","messages":[{"role":"king","text":"!"}]}')
    expect((await typed(`/load ${path}\n/bye\n`)).said[0]).toMatch(/is no conversation/)
  })

  test('help names them all', async () => {
    const all = (await typed('/?\n/bye\n')).said.join('\n')
    for (const name of ['/help', '/model', '/save', '/clear', '/system', '/set', '/show', '/bye']) {
      expect(all).toContain(name)
    }
  })
})

describe('what happens on the way', () => {
  test('an answer that was interrupted is kept as far as it came', async () => {
    const slow: Script = async function* (request, signal) {
      if (request.input.kind === 'conversation' && request.input.messages.length > 1)
        return yield* echo(request)
      yield text('Once')
      await new Promise((_, reject) => signal.addEventListener('abort', () => reject(signal.reason)))
    }
    const conversation = await talk(slow)
    conversation.type('story\n')
    await vi.waitFor(() => expect(conversation.shown()).toBe('Once'))
    conversation.interrupt()
    conversation.type('more\n/bye\n')
    await conversation.over
    expect([conversation.shown(), conversation.said]).toEqual(['Once\n<more>\n', []])
    expect(conversation.requests[1]?.input).toMatchObject({
      messages: [{ text: 'story' }, { text: 'Once' }, { text: 'more' }]
    })
  })

  test('a failure is said, and what was asked is not part of the conversation', async () => {
    let calls = 0
    const failing: Script = async function* (request) {
      if (calls++ === 0) throw new AnswerError('NOT_COVERED', 'Nobody hosts block 5.')
      yield* echo(request)
    }
    const { said, requests } = await typed('one\ntwo\n/bye\n', failing)
    expect(said).toEqual(['error: Nobody hosts block 5.'])
    expect(requests[1]?.input).toMatchObject({ messages: [{ text: 'two' }] })
  })

  test('news of the chain, reasoning, escape sequences, and an answer that was cut', async () => {
    const { said, shown } = await typed('one\n/bye\n', async function* () {
      yield { type: 'reasoning', text: 'Hm.' }
      yield text('a\u001b[2Jb')
      yield { type: 'chain', change: 'lost', message: 'lost blocks 0-4\u0007' }
      yield text('c')
      yield end('length')
    })
    expect(shown()).toBe('Hm.\n\na[2Jbc\n')
    expect(said).toEqual(['\nnote: lost blocks 0-4?', expect.stringMatching(/no room for more/)])
  })
})

describe('at a terminal', () => {
  test('Ctrl-C empties the line, and twice at an empty prompt leaves', async () => {
    const conversation = await talk(echo, { terminal: true })
    conversation.type(`half a question${CTRL_C}`)
    conversation.type('one\r')
    await vi.waitFor(() => expect(conversation.shown()).toBe('<one>\n'))
    conversation.type(CTRL_C)
    await vi.waitFor(() => expect(conversation.said).toHaveLength(1))
    conversation.type(CTRL_C)
    await conversation.over
    expect(conversation.said).toEqual([expect.stringMatching(/Ctrl-D/)])
  })

  test('Ctrl-D leaves, and what was typed comes back with the arrow key another time', async () => {
    const first = await talk(echo, { terminal: true })
    first.type(`one\rtwo\r${CTRL_D}`)
    await first.over
    expect(await readFile(join(folder, 'history'), 'utf8')).toBe('one\ntwo\n')
    expect((await stat(join(folder, 'history'))).mode & 0o077).toBe(0)
    const second = await talk(echo, { terminal: true })
    second.type(`${UP}${UP}\r${CTRL_D}`)
    await second.over
    expect(second.shown()).toBe('<one>\n')
  })
})
