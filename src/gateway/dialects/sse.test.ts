import { describe, expect, test } from 'vitest'
import { AnswerError, type AnswerEvent } from '../../chat/index.ts'
import { ManualClock } from '../../swarm/testing-clock.ts'
import { GatewayError } from '../errors.ts'
import { endEvent, type Script, START, TestGateway, textEvent } from '../testing.ts'

const PATH = '/v1/chat/completions'
const ASK = { model: 'tiny', stream: true, n: 1, messages: [{ role: 'user', content: 'Hello?' }] }

/** Says what it is told to, when it is told to. */
class Prompter {
  readonly #given: AnswerEvent[] = []
  #more = Promise.withResolvers<void>()
  spoken = 0
  isClosed = false

  give(...events: readonly AnswerEvent[]): void {
    this.#given.push(...events)
    this.#more.resolve()
  }

  fail(error: Error): void {
    this.#more.reject(error)
  }

  readonly script: Script = (_, { signal }) => this.#speak(signal)

  async *#speak(signal: AbortSignal): AsyncGenerator<AnswerEvent> {
    const cut = Promise.withResolvers<never>()
    cut.promise.catch(() => {})
    signal.addEventListener('abort', () => cut.reject(signal.reason), { once: true })
    try {
      for (;;) {
        for (let event = this.#given.shift(); event !== undefined; event = this.#given.shift()) {
          this.spoken++
          yield event
          if (event.type === 'end') return
        }
        await Promise.race([this.#more.promise, cut.promise])
        this.#more = Promise.withResolvers()
      }
    } finally {
      this.isClosed = true
    }
  }
}

class Reader {
  readonly #reader: ReadableStreamDefaultReader<Uint8Array>
  readonly #decoder = new TextDecoder()

  constructor(response: Response) {
    this.#reader = response.body?.getReader() as ReadableStreamDefaultReader<Uint8Array>
  }

  async read(): Promise<string | undefined> {
    const { done, value } = await this.#reader.read()
    return done ? undefined : this.#decoder.decode(value)
  }

  async rest(): Promise<string> {
    let text = ''
    for (let part = await this.read(); part !== undefined; part = await this.read()) text += part
    return text
  }

  cancel(): Promise<void> {
    return this.#reader.cancel()
  }
}

function setUp(init: ConstructorParameters<typeof TestGateway>[1] = {}) {
  const clock = new ManualClock()
  const prompter = new Prompter()
  return { clock, prompter, gateway: new TestGateway(prompter.script, { clock, ...init }) }
}

describe('headers', () => {
  test('wait for the answer to start, since until then an error has its status', async () => {
    const { clock, prompter, gateway } = setUp()
    const response = gateway.post(PATH, ASK)
    await clock.advance(1_900)
    prompter.fail(new AnswerError('NOT_COVERED', 'nobody hosts block 3'))
    expect((await response).status).toBe(503)
    expect(gateway.released).toBe(1)
  })

  test('are sent after two seconds, with a comment, and errors follow in the stream', async () => {
    const { clock, prompter, gateway } = setUp()
    const waiting = gateway.post(PATH, ASK)
    await clock.advance(2_000)
    const reader = new Reader(await waiting)
    const first = reader.read()
    await clock.advance(0)
    expect(await first).toBe(': working\n\n')
    prompter.fail(new AnswerError('NOT_COVERED', 'nobody hosts block 3'))
    expect(await reader.rest()).toMatch(/^data: \{"error":\{"message":"nobody hosts block 3".*\n\n$/)
  })
})

describe('while nothing comes', () => {
  test('there is a comment every ten seconds', async () => {
    const { clock, prompter, gateway } = setUp()
    prompter.give(START)
    const reader = new Reader(await gateway.post(PATH, ASK))
    expect(await reader.read()).toContain('"role":"assistant"')
    for (let round = 0; round < 3; round++) {
      const next = reader.read()
      await clock.advance(9_999)
      let isThere = false
      void next.then(() => {
        isThere = true
      })
      await clock.advance(0)
      expect(isThere).toBe(false)
      await clock.advance(1)
      expect(await next).toBe(': working\n\n')
    }
    prompter.give(textEvent('Hi'), endEvent())
    expect(await reader.rest()).toContain('"content":"Hi"')
  })

  test('Anthropic’s clients get a ping once the message has begun', async () => {
    const { clock, prompter, gateway } = setUp()
    prompter.give(START)
    const body = { model: 'tiny', max_tokens: 9, stream: true, messages: ASK.messages }
    const reader = new Reader(await gateway.post('/v1/messages', body))
    expect(await reader.read()).toContain('event: message_start')
    const next = reader.read()
    await clock.advance(10_000)
    expect(await next).toBe('event: ping\ndata: {"type":"ping"}\n\n')
    await reader.cancel()
  })

  test('who waits in the queue is told the position', async () => {
    const admitted = Promise.withResolvers<{ release: () => void }>()
    let move = (_: number): void => {}
    const { clock, prompter, gateway } = setUp({
      admit: ({ onPosition = () => {} }) => {
        move = onPosition
        onPosition(3)
        return admitted.promise
      }
    })
    const waiting = gateway.post(PATH, ASK)
    await clock.advance(2_000)
    const reader = new Reader(await waiting)
    const first = reader.read()
    await clock.advance(0)
    expect(await first).toBe(': queued, position 3\n\n')
    move(1)
    const second = reader.read()
    await clock.advance(10_000)
    expect(await second).toBe(': queued, position 1\n\n')
    admitted.resolve({ release: () => {} })
    prompter.give(START, endEvent())
    expect(await reader.rest()).toContain('[DONE]')
  })

  test('a full queue is refused at once', async () => {
    const { gateway } = setUp({
      admit: async () => {
        throw new GatewayError('BUSY', 'too many wait', { retryAfterSeconds: 7 })
      }
    })
    const response = await gateway.post(PATH, ASK)
    expect([response.status, response.headers.get('retry-after')]).toEqual([503, '7'])
    expect(gateway.answers.asked).toEqual([])
  })
})

describe('a reader', () => {
  test('that is slow gets many tokens in one event, and the answer waits for it', async () => {
    const { clock, prompter, gateway } = setUp()
    prompter.give(START)
    const reader = new Reader(await gateway.post(PATH, ASK))
    await reader.read()
    prompter.give(...Array.from({ length: 20_000 }, () => textEvent('~')), endEvent())
    await clock.advance(60_000)
    expect(prompter.spoken).toBeLessThan(5_000)
    const text = (await reader.read()) ?? ''
    expect(text.split('\n\n').filter(Boolean)).toHaveLength(1)
    expect(text).toMatch(/~{1000}/)
    expect((await reader.rest()).match(/~/g)?.length).toBe(20_000 - (text.match(/~/g)?.length ?? 0))
  })

  test('that goes away ends the answer and frees its place', async () => {
    const { clock, prompter, gateway } = setUp()
    prompter.give(START)
    const reader = new Reader(await gateway.post(PATH, ASK))
    await reader.read()
    await reader.cancel()
    await clock.advance(0)
    expect([prompter.isClosed, gateway.answers.running, gateway.released]).toEqual([true, 0, 1])
    expect(gateway.logged).toEqual([])
  })

  test.each([true, false])('whose connection goes ends the answer, too (streamed: %s)', async (stream) => {
    const { clock, prompter, gateway } = setUp()
    prompter.give(START)
    const response = gateway.post(PATH, { ...ASK, stream })
    await clock.advance(0)
    gateway.gone.abort()
    await clock.advance(0)
    expect([prompter.isClosed, gateway.answers.running, gateway.released]).toEqual([true, 0, 1])
    await (await response).text().catch(() => {})
    expect(gateway.logged).toEqual([])
  })

  test('is told when its time is up', async () => {
    const { clock, prompter, gateway } = setUp()
    prompter.give(START)
    const reader = new Reader(await gateway.post(PATH, ASK))
    await reader.read()
    const next = reader.rest()
    await clock.advance(0)
    gateway.gone.abort(new GatewayError('TIMEOUT', 'the answer took longer than an hour'))
    expect(await next).toContain('"code":"timeout"')
  })

  test('that does not read when its time is up loses the connection', async () => {
    const { clock, prompter, gateway } = setUp()
    prompter.give(START)
    const reader = new Reader(await gateway.post(PATH, ASK))
    await reader.read()
    gateway.gone.abort(new GatewayError('TIMEOUT', 'the answer took longer than an hour'))
    await clock.advance(0)
    await expect(reader.read()).rejects.toThrow('longer than an hour')
    expect(gateway.released).toBe(1)
  })
})

test('several answers come as they do, and one that fails ends the others', async () => {
  const both = [new Prompter(), new Prompter()] as const
  let asked = 0
  const gateway = new TestGateway((request, options) => (both[asked++] as Prompter).script(request, options))
  both[0].give(START, textEvent('a'))
  both[1].give(START, textEvent('b'))
  const reader = new Reader(await gateway.post(PATH, { ...ASK, n: 2 }))
  let text = ''
  while (!text.includes('"a"') || !text.includes('"b"')) text += await reader.read()
  both[1].fail(new AnswerError('LOST', 'the chain broke'))
  expect(await reader.rest()).toContain('chain_lost')
  expect([both[0].isClosed, gateway.answers.running, gateway.released]).toEqual([true, 0, 1])
})
