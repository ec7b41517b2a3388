/** All conversations of this browser, and those of them that are open. */
import { complete } from '../api/completions.ts'
import {
  type Change,
  type Conversations,
  ForgetfulConversations,
  openConversations
} from '../api/conversations.ts'
import { type Exported, fromFile, toFile } from './exchange.ts'
import { type Conversation, type Message, newConversation } from './messages.ts'
import { nextFrame } from './next-frame.ts'
import { Thread, type ThreadComponents } from './thread.ts'
import { Tree } from './tree.ts'

export interface HistoryInit {
  readonly conversations: Conversations
  /** What to tell a person. */
  readonly onTrouble: (message: string) => void
  readonly complete?: ThreadComponents['complete']
  readonly now?: () => number
  readonly nextFrame?: ThreadComponents['nextFrame']
}

/** How long another tab has to say that it still answers, in milliseconds. */
const ALIVE_MS = 1_000

export class History {
  readonly #init: HistoryInit
  readonly #listeners = new Set<() => void>()
  readonly #threads = new Map<string, Thread>()
  /** Answers that some other tab has to speak up for. */
  readonly #doubtful = new Map<string, Thread>()
  #list: readonly Conversation[] = []
  #fresh: Thread | undefined

  constructor(init: HistoryInit) {
    this.#init = init
  }

  async start(): Promise<void> {
    this.#setList(await this.#init.conversations.list())
    this.#init.conversations.onChange((change) => void this.#onChange(change))
  }

  /** The page goes away. */
  leave(): void {
    for (const thread of this.#threads.values()) thread.leave()
  }

  /** What was changed last comes first. */
  get list(): readonly Conversation[] {
    return this.#list
  }

  subscribe = (listener: () => void): (() => void) => {
    this.#listeners.add(listener)
    return () => this.#listeners.delete(listener)
  }

  has(id: string): boolean {
    return this.#list.some((each) => each.id === id)
  }

  /** Undefined: there is none. */
  async open(id: string): Promise<Thread | undefined> {
    const known = this.#threads.get(id)
    if (known !== undefined) return known
    const conversation = this.#list.find((each) => each.id === id)
    if (conversation === undefined) return undefined
    const thread = this.#threadOf(conversation, await this.#init.conversations.messages(id))
    this.#doubt(thread)
    return thread
  }

  /** One that nothing has been said in; it is kept when something is. */
  fresh(model?: string): Thread {
    if (this.#fresh !== undefined && this.#fresh.path.length === 0) return this.#fresh
    this.#fresh = this.#threadOf(newConversation(this.#now(), { model }), [])
    return this.#fresh
  }

  rename(conversation: Conversation, title: string): void {
    const thread = this.#threads.get(conversation.id)
    if (thread !== undefined) {
      thread.change({ title })
      return
    }
    const changed = { ...conversation, title }
    this.#setList([changed, ...this.#list.filter(({ id }) => id !== changed.id)])
    this.#init.conversations.save({ conversation: changed }).catch(this.#onTrouble)
  }

  remove(id: string): void {
    this.#forget(id)
    this.#init.conversations.remove(id).catch(this.#onTrouble)
  }

  removeAll(): void {
    for (const { id } of this.#list) this.#forget(id)
    this.#init.conversations.clear().catch(this.#onTrouble)
  }

  /** The file's text. */
  async export(conversations: readonly Conversation[] = this.#list): Promise<string> {
    const exported: Exported[] = []
    for (const conversation of conversations) {
      const messages = [...new Tree(await this.#init.conversations.messages(conversation.id))]
      exported.push({ conversation, messages })
    }
    return toFile(exported)
  }

  /** Returns how many there were. Throws an Error whose message can be shown. */
  async import(text: string): Promise<number> {
    const imported = fromFile(text)
    for (const { conversation, messages } of imported) {
      await this.#init.conversations.save({ conversation, messages })
      this.#setList([conversation, ...this.#list])
    }
    return imported.length
  }

  #threadOf(conversation: Conversation, messages: readonly Message[]): Thread {
    const { conversations } = this.#init
    const thread = new Thread(
      {
        conversations,
        complete: this.#init.complete ?? complete,
        now: () => this.#now(),
        nextFrame: this.#init.nextFrame ?? nextFrame,
        onConversation: (changed) => this.#onConversation(changed),
        onKeepingError: this.#onTrouble
      },
      conversation,
      messages
    )
    this.#threads.set(conversation.id, thread)
    return thread
  }

  /** An answer that was on its way when it was kept: either another tab says so, or it was cut off. */
  #doubt(thread: Thread): void {
    for (const id of thread.path.slice(-1)) {
      if (thread.message(id)?.state !== 'answering') continue
      this.#doubtful.set(id, thread)
      this.#init.conversations.ask(id)
      setTimeout(() => {
        if (this.#doubtful.delete(id)) thread.cut(id)
      }, ALIVE_MS)
    }
  }

  #onConversation(changed: Conversation): void {
    if (this.#threads.get(changed.id)?.path.length === 0 && changed.leaf === null) return
    this.#setList([changed, ...this.#list.filter(({ id }) => id !== changed.id)])
  }

  async #onChange(change: Change): Promise<void> {
    if (change.type === 'asked') {
      for (const thread of this.#threads.values()) {
        if (thread.answer?.id === change.message) thread.saveAnswer()
      }
      return
    }
    if (change.type === 'saved') {
      for (const id of change.messages) this.#doubtful.delete(id)
      await this.#threads.get(change.conversation)?.readAgain(change.messages)
    }
    if (change.type === 'removed') this.#forget(change.conversation)
    if (change.type === 'cleared') for (const { id } of this.#list) this.#forget(id)
    if (change.type === 'saved' && change.isChanged) this.#setList(await this.#init.conversations.list())
  }

  #forget(id: string): void {
    this.#threads.get(id)?.forget()
    this.#threads.delete(id)
    this.#setList(this.#list.filter((each) => each.id !== id))
  }

  #setList(list: readonly Conversation[]): void {
    this.#list = [...list].sort((a, b) => b.changedAt - a.changedAt)
    for (const listener of [...this.#listeners]) listener()
  }

  #now(): number {
    return this.#init.now?.() ?? Date.now()
  }

  #onTrouble = (error: unknown): void =>
    this.#init.onTrouble(error instanceof Error ? error.message : String(error))
}

/** Where the browser keeps nothing, this says so, and goes on with this tab's memory. */
export async function openHistory(onTrouble: (message: string) => void): Promise<History> {
  const conversations = await openConversations().catch((error: Error) => {
    onTrouble(error.message)
    return new ForgetfulConversations()
  })
  const history = new History({ conversations, onTrouble })
  await history.start()
  addEventListener('pagehide', () => history.leave())
  return history
}
