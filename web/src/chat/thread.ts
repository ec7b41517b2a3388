/** One conversation that is open: its messages, what is shown of them, and the answer that is on its way. */
import type { Conversations } from '../api/conversations.ts'
import { type Answer, type AnswerInit, startAnswer } from './answer.ts'
import { type Attachment, type Conversation, type Message, newId, promptOf, titleOf } from './messages.ts'
import { Tree } from './tree.ts'

export interface ThreadComponents {
  readonly conversations: Conversations
  readonly complete: AnswerInit['complete']
  /** Milliseconds since 1970. */
  readonly now: () => number
  /** Runs it before the next picture is painted. */
  readonly nextFrame: (work: () => void) => void
  /** Called whenever the conversation's own record has changed. */
  readonly onConversation: (conversation: Conversation) => void
  readonly onKeepingError: (error: unknown) => void
}

/** A person's words. */
export interface Words {
  readonly text: string
  readonly attachments?: readonly Attachment[]
}

/** While it answers it is kept this often, in milliseconds: what a reload may lose. */
const SAVE_MS = 500

export class Thread {
  readonly #components: ThreadComponents
  readonly #listeners = new Set<() => void>()
  readonly #messageListeners = new Map<string, Set<() => void>>()
  #conversation: Conversation
  #tree: Tree
  #path: readonly string[]
  #answer: Answer | undefined
  #savedAt = 0
  #version = 0
  #isForgotten = false

  constructor(components: ThreadComponents, conversation: Conversation, messages: Iterable<Message>) {
    this.#components = components
    this.#conversation = conversation
    this.#tree = new Tree(messages)
    this.#path = this.#pathNow()
  }

  get conversation(): Conversation {
    return this.#conversation
  }

  /** Ids of the messages that are shown. The same array until they are others. */
  get path(): readonly string[] {
    return this.#path
  }

  /** Another one whenever `subscribe` tells. */
  get version(): number {
    return this.#version
  }

  /** What is on its way; undefined: nothing is. */
  get answer(): Answer | undefined {
    return this.#answer
  }

  message(id: string): Message | undefined {
    return this.#tree.get(id)
  }

  siblings(id: string): readonly string[] {
    return this.#tree.siblings(id)
  }

  /** Of the conversation and of which messages are shown, not of their texts. */
  subscribe = (listener: () => void): (() => void) => {
    this.#listeners.add(listener)
    return () => this.#listeners.delete(listener)
  }

  /** Of one message. */
  subscribeTo(id: string, listener: () => void): () => void {
    const listeners = this.#messageListeners.get(id) ?? new Set()
    this.#messageListeners.set(id, listeners.add(listener))
    return () => {
      listeners.delete(listener)
      if (listeners.size === 0) this.#messageListeners.delete(id)
    }
  }

  /** Settings and title. */
  change(change: Partial<Pick<Conversation, 'title' | 'model' | 'system' | 'sampling' | 'leaf'>>): void {
    this.#conversation = { ...this.#conversation, ...change, changedAt: this.#components.now() }
    if (this.#path.length > 0) this.#keep({ conversation: this.#conversation })
    this.#components.onConversation(this.#conversation)
    this.#tell()
  }

  /** Below what is shown. Does nothing while an answer is on its way, or without a model. */
  say(words: Words): void {
    this.#sayBelow(this.#path.at(-1) ?? null, words)
  }

  /** As a branch beside the person's message with this id. */
  edit(id: string, words: Words): void {
    const message = this.#tree.get(id)
    if (message !== undefined) this.#sayBelow(message.parent, words)
  }

  /** Another answer beside the one with this id. */
  answerAgain(id: string): void {
    const parent = this.#tree.get(id)?.parent
    if (this.#answer === undefined && parent) this.#answerBelow(parent)
  }

  /** Shows the branch that this message begins. */
  show(id: string): void {
    if (this.#answer === undefined) this.change({ leaf: this.#tree.leafBelow(id) })
  }

  stop(): void {
    this.#answer?.stop()
  }

  /** The page goes away: what has come is kept. */
  leave(): void {
    const id = this.#answer?.id
    this.#answer?.stop()
    this.#answer = undefined
    if (id !== undefined) this.cut(id)
  }

  /** The conversation was removed: nothing of it is kept any more. */
  forget(): void {
    this.#isForgotten = true
    this.stop()
  }

  /** What another tab has saved. */
  async readAgain(ids: readonly string[]): Promise<void> {
    const { conversations } = this.#components
    const conversation = await conversations.get(this.#conversation.id)
    const messages = await Promise.all(ids.map((id) => conversations.message(id)))
    if (conversation !== undefined) this.#conversation = conversation
    for (const message of messages) {
      if (message !== undefined && message.id !== this.#answer?.id) this.#put(message)
    }
    this.#tell()
  }

  /** Says to other tabs that it is alive; called when one of them asks. */
  saveAnswer(): void {
    const message = this.#answer && this.#tree.get(this.#answer.id)
    if (message !== undefined) this.#keep({ messages: [message] })
  }

  /** Answers that nobody gives any more. */
  cut(id: string): void {
    const message = this.#tree.get(id)
    if (message?.state !== 'answering' || this.#answer?.id === id) return
    this.#put({ ...message, state: 'cut' })
    this.#keep({ messages: [{ ...message, state: 'cut' }] })
  }

  #sayBelow(parent: string | null, { text, attachments = [] }: Words): void {
    const { model, id: conversation } = this.#conversation
    if (this.#answer !== undefined || model === undefined) return
    const at = this.#components.now()
    const files = attachments.length > 0 && { attachments: [...attachments] }
    const message: Message = {
      id: newId(),
      conversation,
      parent,
      role: 'user',
      text,
      at,
      state: 'done',
      ...files
    }
    this.#tree.put(message)
    if (this.#conversation.title === '') {
      const title = titleOf(text) || titleOf(attachments[0]?.name ?? '')
      this.#conversation = { ...this.#conversation, title }
    }
    this.#keep({ messages: [message] })
    this.#answerBelow(message.id)
  }

  #answerBelow(parent: string): void {
    const { now, complete, nextFrame } = this.#components
    const { model, id: conversation, system, sampling } = this.#conversation
    if (model === undefined) return
    const begun: Message = {
      ...{
        id: newId(),
        conversation,
        parent,
        role: 'assistant',
        text: '',
        at: now(),
        model,
        state: 'answering'
      }
    }
    this.#tree.put(begun)
    const messages = promptOf(system, this.#tree.pathTo(parent))
    this.#answer = startAnswer(begun, {
      ...{ complete, now, nextFrame },
      request: { model, messages, ...sampling },
      onChange: (message) => this.#onAnswer(message)
    })
    this.change({ leaf: begun.id })
    this.#keep({ conversation: this.#conversation, messages: [begun] })
  }

  #onAnswer(message: Message): void {
    if (this.#tree.get(message.id)?.state !== 'answering') return
    const isDone = message.state !== 'answering'
    const now = this.#components.now()
    if (isDone) this.#answer = undefined
    this.#put(message)
    if (isDone || now - this.#savedAt > SAVE_MS) {
      this.#savedAt = now
      this.#keep({ messages: [message] })
    }
    if (isDone) this.#tell()
  }

  #put(message: Message): void {
    this.#tree.put(message)
    this.#tellOf(message.id)
  }

  #keep(saved: Parameters<Conversations['save']>[0]): void {
    if (this.#isForgotten) return
    this.#components.conversations.save(saved).catch(this.#components.onKeepingError)
  }

  #pathNow(): readonly string[] {
    return this.#tree.pathTo(this.#conversation.leaf).map(({ id }) => id)
  }

  #tell(): void {
    const path = this.#pathNow()
    const isSame = path.length === this.#path.length && path.every((id, index) => id === this.#path[index])
    if (!isSame) this.#path = path
    this.#version++
    for (const listener of [...this.#listeners]) listener()
  }

  #tellOf(id: string): void {
    for (const listener of [...(this.#messageListeners.get(id) ?? [])]) listener()
  }
}
