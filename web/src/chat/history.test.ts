import { describe, expect, test, vi } from 'vitest'
import type { CompletionEvent } from '../api/completions.ts'
import { type Change, ForgetfulConversations } from '../api/conversations.ts'
import { History } from './history.ts'

/** What two tabs have in common. */
class SharedConversations extends ForgetfulConversations {
  readonly asked: string[] = []
  tell: (change: Change) => void = () => {}

  override ask(message?: string): void {
    this.asked.push(message ?? '')
  }

  override onChange(listener?: (change: Change) => void): () => void {
    if (listener !== undefined) this.tell = listener
    return () => {}
  }
}

async function setUp(conversations = new SharedConversations()) {
  const history = new History({
    conversations,
    onTrouble: (message) => expect.unreachable(message),
    nextFrame: (work) => work(),
    async *complete(): AsyncGenerator<CompletionEvent> {
      yield { type: 'text', text: 'yes' }
    }
  })
  await history.start()
  return { history, conversations }
}
const settle = (): Promise<void> => new Promise(setImmediate)

/** With one conversation, answered. */
async function answered() {
  const both = await setUp()
  const thread = both.history.fresh('demo')
  thread.say({ text: 'is it so?' })
  await settle()
  return { ...both, thread, id: thread.conversation.id }
}

describe('History', () => {
  test('a conversation is listed once something is said in it', async () => {
    const { history } = await setUp()
    const thread = history.fresh('demo')
    thread.change({ system: 'Be brief.' })
    expect(history.list).toEqual([])
    thread.say({ text: 'is it so?' })
    await settle()
    expect(history.list.map(({ title }) => title)).toEqual(['is it so?'])
    expect(history.fresh('demo')).not.toBe(thread)
  })

  test('what was kept is there for who comes later', async () => {
    const { conversations, id } = await answered()
    const { history } = await setUp(conversations)
    const thread = await history.open(id)
    expect(thread?.path.map((each) => thread.message(each)?.text)).toEqual(['is it so?', 'yes'])
    expect(await history.open('nobody')).toBeUndefined()
  })

  test('export and import make a copy', async () => {
    const { history } = await answered()
    expect(await history.import(await history.export())).toBe(1)
    expect(history.list.map(({ title }) => title)).toEqual(['is it so?', 'is it so?'])
    expect(new Set(history.list.map(({ id }) => id)).size).toBe(2)
  })

  test('what is removed is gone, here and where another tab removes it', async () => {
    const { history, conversations, id } = await answered()
    await history.import(await history.export())
    history.remove(id)
    await settle()
    expect(history.has(id)).toBe(false)
    expect(await conversations.messages(id)).toEqual([])
    conversations.tell({ type: 'cleared' })
    expect(history.list).toEqual([])
  })

  test('an answer that nobody gives any more is cut', async () => {
    const { history, conversations, thread, id } = await answered()
    const last = thread.message(thread.path.at(-1) ?? '')
    await conversations.save({ messages: [{ ...last!, state: 'answering' }] })
    vi.useFakeTimers({ toFake: ['setTimeout'] })
    try {
      const later = await setUp(conversations)
      const opened = await later.history.open(id)
      expect(conversations.asked).toEqual([last?.id])
      vi.runAllTimers()
      expect(opened?.message(last?.id ?? '')?.state).toBe('cut')
    } finally {
      vi.useRealTimers()
    }
    expect(history.has(id)).toBe(true)
  })
})
