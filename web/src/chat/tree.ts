/** Messages that follow each other, with branches where one was edited or answered again. */
import type { Message } from './messages.ts'

export class Tree {
  readonly #messages = new Map<string, Message>()
  /** Ids by what they follow, oldest first. */
  readonly #children = new Map<string | null, string[]>()

  constructor(messages: Iterable<Message> = []) {
    for (const message of [...messages].sort((a, b) => a.at - b.at)) this.put(message)
  }

  get(id: string): Message | undefined {
    return this.#messages.get(id)
  }

  /** A new one, or one that has changed. What it follows never changes. */
  put(message: Message): void {
    const isNew = !this.#messages.has(message.id)
    this.#messages.set(message.id, message)
    if (!isNew) return
    const siblings = this.#children.get(message.parent)
    if (siblings === undefined) this.#children.set(message.parent, [message.id])
    else siblings.push(message.id)
  }

  /** From the first message to this one; empty where there is no such message. */
  pathTo(leaf: string | null): Message[] {
    const path: Message[] = []
    for (let id = leaf; id !== null; ) {
      const message = this.#messages.get(id)
      if (message === undefined) break
      path.push(message)
      id = message.parent
    }
    return path.reverse()
  }

  /** All that follow what this one follows, itself among them. */
  siblings(id: string): readonly string[] {
    const message = this.#messages.get(id)
    return message === undefined ? [] : (this.#children.get(message.parent) ?? [])
  }

  /** The end of its newest branch. */
  leafBelow(id: string): string {
    for (;;) {
      const next = this.#children.get(id)?.at(-1)
      if (next === undefined) return id
      id = next
    }
  }

  /** All messages, each after what it follows. */
  *[Symbol.iterator](): Generator<Message, void> {
    const waiting = [...(this.#children.get(null) ?? [])].reverse()
    for (let id = waiting.pop(); id !== undefined; id = waiting.pop()) {
      const message = this.#messages.get(id)
      if (message !== undefined) yield message
      waiting.push(...[...(this.#children.get(id) ?? [])].reverse())
    }
  }
}
