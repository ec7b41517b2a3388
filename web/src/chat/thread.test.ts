import { describe, expect, test } from 'vitest'
import { CompletionError, type CompletionEvent, type CompletionRequest } from '../api/completions.ts'
import { ForgetfulConversations } from '../api/conversations.ts'
import { newConversation } from './messages.ts'
import { Thread } from './thread.ts'

/** A thread whose answers are said by the test. */
function setUp() {
  const conversations = new ForgetfulConversations()
  const requests: CompletionRequest[] = []
  const frames: (() => void)[] = []
  let now = 0
  let says: (event: CompletionEvent | Error | undefined) => void = () => {}
  const thread = new Thread(
    {
      conversations,
      now: () => now++,
      nextFrame: (work) => frames.push(work),
      onConversation: () => {},
      onKeepingError: (error) => expect.unreachable(String(error)),
      async *complete(request, { signal }) {
        requests.push(request)
        for (;;) {
          const { promise, resolve } = Promise.withResolvers<CompletionEvent | Error | undefined>()
          says = resolve
          signal.addEventListener('abort', () => resolve(signal.reason))
          const said = await promise
          if (said instanceof Error) throw said
          if (said === undefined) return
          yield said
        }
      }
    },
    { ...newConversation(0), model: 'demo' },
    []
  )
  const settle = (): Promise<void> => new Promise(setImmediate)
  return {
    ...{ thread, conversations, requests, frames, settle },
    say: async (event?: CompletionEvent | Error): Promise<void> => {
      says(event)
      await settle()
    }
  }
}
const texts = (thread: Thread): (string | undefined)[] => thread.path.map((id) => thread.message(id)?.text)

describe('Thread', () => {
  test('asks with what was said before, and keeps the answer', async () => {
    const { thread, conversations, requests, say } = setUp()
    thread.change({ system: 'Be brief.', sampling: { temperature: 0 } })
    thread.say({ text: 'hello' })
    await say({ type: 'text', text: 'hi' })
    await say()
    thread.say({ text: 'more' })
    expect(requests[1]).toEqual({
      model: 'demo',
      temperature: 0,
      messages: [
        { role: 'system', content: 'Be brief.' },
        { role: 'user', content: 'hello' },
        { role: 'assistant', content: 'hi' },
        { role: 'user', content: 'more' }
      ]
    })
    expect(thread.conversation.title).toBe('hello')
    await say({ type: 'text', text: 'yes' })
    await say()
    const kept = await conversations.messages(thread.conversation.id)
    expect(kept.map(({ text, state }) => [text, state])).toContainEqual(['yes', 'done'])
  })

  test('many tokens are one change per picture, and none of the list', async () => {
    const { thread, frames, say } = setUp()
    thread.say({ text: 'hello' })
    const id = thread.path.at(-1) ?? ''
    let changes = 0
    let lists = 0
    thread.subscribeTo(id, () => changes++)
    thread.subscribe(() => lists++)
    for (let i = 0; i < 50; i++) await say({ type: 'text', text: 'a' })
    expect([changes, frames.length]).toEqual([0, 1])
    frames[0]?.()
    expect(changes).toBe(1)
    expect(lists).toBe(0)
    expect(thread.message(id)?.text).toBe('a'.repeat(50))
  })

  test('stopped, an answer keeps what has come', async () => {
    const { thread, say, settle } = setUp()
    thread.say({ text: 'hello' })
    await say({ type: 'text', text: 'hal' })
    thread.stop()
    await settle()
    expect(thread.answer).toBeUndefined()
    expect(thread.message(thread.path.at(-1) ?? '')).toMatchObject({ text: 'hal', state: 'stopped' })
  })

  test('when the page goes away, what has come is kept', async () => {
    const { thread, conversations, say, frames, settle } = setUp()
    thread.say({ text: 'hello' })
    await say({ type: 'text', text: 'hal' })
    frames[0]?.()
    thread.leave()
    await settle()
    const kept = await conversations.messages(thread.conversation.id)
    expect(kept.map(({ text, state }) => [text, state])).toContainEqual(['hal', 'cut'])
  })

  test('a failure is told with when to try again', async () => {
    const { thread, say } = setUp()
    thread.say({ text: 'hello' })
    await say(new CompletionError('model_not_covered', 'nobody hosts blocks 3-5', 30))
    const message = thread.message(thread.path.at(-1) ?? '')
    expect(message).toMatchObject({ state: 'failed', failure: { code: 'model_not_covered' } })
    expect(message?.failure?.retryAt).toBeGreaterThanOrEqual(30_000)
  })

  test('another answer and an edited question are branches', async () => {
    const { thread, say } = setUp()
    thread.say({ text: 'one' })
    await say({ type: 'text', text: 'first' })
    await say()
    thread.answerAgain(thread.path[1] ?? '')
    await say({ type: 'text', text: 'second' })
    await say()
    expect(texts(thread)).toEqual(['one', 'second'])
    const answers = thread.siblings(thread.path[1] ?? '')
    expect(answers).toHaveLength(2)
    thread.show(answers[0] ?? '')
    expect(texts(thread)).toEqual(['one', 'first'])
    thread.edit(thread.path[0] ?? '', { text: 'two' })
    await say()
    expect(texts(thread)).toEqual(['two', ''])
    expect(thread.siblings(thread.path[0] ?? '')).toHaveLength(2)
  })

  test('reasoning is timed, and what happens to the chain is kept', async () => {
    const { thread, say } = setUp()
    thread.say({ text: 'hello' })
    await say({ type: 'start' })
    expect(thread.answer?.progress.phase).toBe('reading')
    await say({ type: 'reasoning', text: 'hm' })
    expect(thread.answer?.progress.phase).toBe('thinking')
    await say({ type: 'chain', change: 'lost', message: 'lost blocks 0-3' })
    expect(thread.answer?.progress.phase).toBe('repairing')
    await say({ type: 'text', text: 'yes' })
    await say()
    const message = thread.message(thread.path.at(-1) ?? '')
    expect(message).toMatchObject({ reasoning: 'hm', text: 'yes' })
    expect(message?.reasoningMs).toBeGreaterThan(0)
    expect(message?.report?.changes).toEqual([{ change: 'lost', message: 'lost blocks 0-3' }])
  })
})
