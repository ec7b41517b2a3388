import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import type { Message } from './messages.ts'
import { Tree } from './tree.ts'

const message = (id: string, parent: string | null, at = 0): Message => ({
  ...{ id, parent, at, conversation: 'c', role: 'user', text: id, state: 'done' }
})
const ids = (messages: Iterable<Message>): string[] => Array.from(messages, ({ id }) => id)

describe('Tree', () => {
  const tree = new Tree([
    message('a', null, 1),
    message('b', 'a', 2),
    message('c', 'b', 3),
    message('b2', 'a', 4),
    message('a2', null, 5)
  ])

  test('a path is from the first message on', () => {
    expect(ids(tree.pathTo('c'))).toEqual(['a', 'b', 'c'])
    expect(tree.pathTo(null)).toEqual([])
    expect(tree.pathTo('nobody')).toEqual([])
  })

  test('branches are in the order in which they were made', () => {
    expect(tree.siblings('b2')).toEqual(['b', 'b2'])
    expect(tree.siblings('a')).toEqual(['a', 'a2'])
    expect(tree.leafBelow('a')).toBe('b2')
    expect(tree.leafBelow('b')).toBe('c')
  })

  test('a message that has changed stays where it is', () => {
    const changed = new Tree([message('a', null), message('b', 'a')])
    changed.put({ ...message('b', 'a'), text: 'more' })
    expect(changed.siblings('b')).toEqual(['b'])
    expect(changed.pathTo('b').at(-1)?.text).toBe('more')
  })

  test('all are told, each after what it follows, however they came', () => {
    const parents = fc.array(fc.nat(), { maxLength: 30 })
    fc.assert(
      fc.property(parents, (numbers) => {
        const messages = numbers.map((number, index) => {
          const parent = index === 0 || number % 5 === 0 ? null : `${number % index}`
          return message(`${index}`, parent, index)
        })
        const told = ids(new Tree([...messages].reverse()))
        expect([...told].sort()).toEqual(ids(messages).sort())
        for (const { id, parent } of messages) {
          if (parent !== null) expect(told.indexOf(parent)).toBeLessThan(told.indexOf(id))
        }
      })
    )
  })
})
