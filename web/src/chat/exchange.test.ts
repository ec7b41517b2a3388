import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { fromFile, toFile } from './exchange.ts'
import { type Conversation, type Message, newConversation } from './messages.ts'

const conversation: Conversation = { ...newConversation(5), title: 'Tides', leaf: 'b' }
const message = (id: string, parent: string | null): Message => ({
  ...{ id, parent, conversation: conversation.id, role: 'user', text: id, at: 1, state: 'done' }
})

describe('conversations as a file', () => {
  test('come back with ids of their own', () => {
    const messages = [message('a', null), message('b', 'a')]
    const [imported] = fromFile(toFile([{ conversation, messages }]))
    expect(imported?.conversation).toMatchObject({ title: 'Tides', leaf: imported?.messages[1]?.id })
    expect(imported?.conversation.id).not.toBe(conversation.id)
    expect(imported?.messages.map(({ text }) => text)).toEqual(['a', 'b'])
    expect(imported?.messages[1]?.parent).toBe(imported?.messages[0]?.id)
    expect(imported?.messages.every((each) => each.conversation === imported.conversation.id)).toBe(true)
  })

  test('circles, strays and doubles are left out', () => {
    const messages = [message('a', 'b'), message('b', 'a'), message('c', null), message('c', null)]
    const [imported] = fromFile(toFile([{ conversation, messages }]))
    expect(imported?.messages.map(({ text }) => text)).toEqual(['c'])
    expect(imported?.conversation.leaf).toBe(imported?.messages[0]?.id)
  })

  test('an answer that was on its way is cut', () => {
    const messages: Message[] = [{ ...message('a', null), state: 'answering' }]
    expect(fromFile(toFile([{ conversation, messages }]))[0]?.messages[0]?.state).toBe('cut')
  })

  test('anything else is refused in plain words', () => {
    fc.assert(
      fc.property(fc.oneof(fc.string(), fc.json(), fc.constant('{"__proto__":{"x":1}}')), (text) => {
        expect(() => fromFile(text)).toThrow('not a file that this page has exported')
      })
    )
  })
})
