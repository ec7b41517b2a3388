/**
 * Conversations in this browser: IndexedDB, and word to its other tabs.
 *
 * Messages are records of their own: a token of an answer must not cost writing ten thousand messages.
 */
import type { Conversation, Message } from '../chat/messages.ts'

/** Told by one tab to the others. */
export type Change =
  | {
      readonly type: 'saved'
      readonly conversation: string
      /** Whether its own record was, too. */
      readonly isChanged: boolean
      readonly messages: readonly string[]
    }
  | { readonly type: 'removed'; readonly conversation: string }
  | { readonly type: 'cleared' }
  /** Somebody wants to know whether this message is still being answered in some tab, which says `saved` at once. */
  | { readonly type: 'asked'; readonly message: string }

export interface Saved {
  readonly conversation?: Conversation | undefined
  readonly messages?: readonly Message[] | undefined
}

/** All calls may throw a KeepingError. */
export interface Conversations {
  list(): Promise<readonly Conversation[]>
  get(id: string): Promise<Conversation | undefined>
  messages(conversation: string): Promise<readonly Message[]>
  message(id: string): Promise<Message | undefined>
  save(saved: Saved): Promise<void>
  remove(id: string): Promise<void>
  clear(): Promise<void>
  ask(message: string): void
  /** Changes of other tabs. Returns how to stop. */
  onChange(listener: (change: Change) => void): () => void
}

/** Thrown where the browser won't keep something; the message says what to do. */
export class KeepingError extends Error {
  constructor(message: string, options?: ErrorOptions) {
    super(message, options)
    this.name = 'KeepingError'
  }
}

const NAME = 'shoal'
const VERSION = 1
const CHANNEL = 'shoal-conversations'

/** Throws a KeepingError where the browser has no database, as in some private windows. */
export async function openConversations(): Promise<Conversations> {
  return new StoredConversations(await open())
}

class StoredConversations implements Conversations {
  readonly #database: IDBDatabase
  readonly #channel = new BroadcastChannel(CHANNEL)

  constructor(database: IDBDatabase) {
    this.#database = database
    // A page of a newer version waits for all others to let go.
    database.onversionchange = () => database.close()
  }

  async list(): Promise<readonly Conversation[]> {
    return await this.#read('conversations', (store) => store.getAll())
  }

  async get(id: string): Promise<Conversation | undefined> {
    return await this.#read('conversations', (store) => store.get(id))
  }

  async messages(conversation: string): Promise<readonly Message[]> {
    return await this.#read('messages', (store) => store.index('conversation').getAll(conversation))
  }

  async message(id: string): Promise<Message | undefined> {
    return await this.#read('messages', (store) => store.get(id))
  }

  async save({ conversation, messages = [] }: Saved): Promise<void> {
    await this.#write((conversations, kept) => {
      if (conversation !== undefined) conversations.put(conversation)
      for (const message of messages) kept.put(message)
    })
    const of = conversation?.id ?? messages[0]?.conversation
    if (of === undefined) return
    const ids = messages.map(({ id }) => id)
    this.#tell({ type: 'saved', conversation: of, isChanged: conversation !== undefined, messages: ids })
  }

  async remove(id: string): Promise<void> {
    await this.#write((conversations, messages) => {
      conversations.delete(id)
      const keys = messages.index('conversation').getAllKeys(id)
      keys.onsuccess = () => {
        for (const key of keys.result) messages.delete(key)
      }
    })
    this.#tell({ type: 'removed', conversation: id })
  }

  async clear(): Promise<void> {
    await this.#write((conversations, messages) => {
      conversations.clear()
      messages.clear()
    })
    this.#tell({ type: 'cleared' })
  }

  ask(message: string): void {
    this.#tell({ type: 'asked', message })
  }

  onChange(listener: (change: Change) => void): () => void {
    const onMessage = ({ data }: MessageEvent<Change>): void => listener(data)
    this.#channel.addEventListener('message', onMessage)
    return () => this.#channel.removeEventListener('message', onMessage)
  }

  #tell(change: Change): void {
    this.#channel.postMessage(change)
  }

  #read<T>(name: string, ask: (store: IDBObjectStore) => IDBRequest<T>): Promise<T> {
    return new Promise((resolve, reject) => {
      const request = ask(this.#database.transaction(name).objectStore(name))
      request.onsuccess = () => resolve(request.result)
      request.onerror = () => reject(keepingError(request.error))
    })
  }

  /** Resolves when it is on disk. */
  #write(work: (conversations: IDBObjectStore, messages: IDBObjectStore) => void): Promise<void> {
    return new Promise((resolve, reject) => {
      const transaction = this.#database.transaction(['conversations', 'messages'], 'readwrite')
      transaction.oncomplete = () => resolve()
      transaction.onabort = () => reject(keepingError(transaction.error))
      work(transaction.objectStore('conversations'), transaction.objectStore('messages'))
    })
  }
}

function open(): Promise<IDBDatabase> {
  return new Promise((resolve, reject) => {
    const request = indexedDB.open(NAME, VERSION)
    request.onupgradeneeded = () => {
      request.result.createObjectStore('conversations', { keyPath: 'id' })
      request.result
        .createObjectStore('messages', { keyPath: 'id' })
        .createIndex('conversation', 'conversation')
    }
    request.onsuccess = () => resolve(request.result)
    request.onerror = () => reject(keepingError(request.error))
  })
}

function keepingError(error: DOMException | null): KeepingError {
  const message =
    error?.name === 'QuotaExceededError'
      ? 'This browser has no room for more: export conversations and delete some.'
      : 'This browser does not keep conversations: what you write is gone when the page closes.'
  return new KeepingError(message, { cause: error })
}

/** Where the browser keeps nothing: this tab's memory. */
export class ForgetfulConversations implements Conversations {
  readonly #conversations = new Map<string, Conversation>()
  readonly #messages = new Map<string, Message>()

  async list(): Promise<readonly Conversation[]> {
    return [...this.#conversations.values()]
  }

  async get(id: string): Promise<Conversation | undefined> {
    return this.#conversations.get(id)
  }

  async messages(conversation: string): Promise<readonly Message[]> {
    return [...this.#messages.values()].filter((message) => message.conversation === conversation)
  }

  async message(id: string): Promise<Message | undefined> {
    return this.#messages.get(id)
  }

  async save({ conversation, messages = [] }: Saved): Promise<void> {
    if (conversation !== undefined) this.#conversations.set(conversation.id, conversation)
    for (const message of messages) this.#messages.set(message.id, message)
  }

  async remove(id: string): Promise<void> {
    this.#conversations.delete(id)
    for (const message of await this.messages(id)) this.#messages.delete(message.id)
  }

  async clear(): Promise<void> {
    this.#conversations.clear()
    this.#messages.clear()
  }

  ask(): void {}

  onChange(): () => void {
    return () => {}
  }
}
