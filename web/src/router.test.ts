import { expect, test } from 'vitest'
import { isPlainClick, pageAt, withParameter } from './router.ts'

test('four pages have paths, with or without a slash at the end', () => {
  const pages = ['/', '/swarm', '/node', '/start', '/swarm/', '/nothing', '/swarm/more'].map(pageAt)
  expect(pages).toEqual(['chat', 'swarm', 'node', 'start', 'swarm', undefined, undefined])
})

test('a parameter is set beside others, and goes when it is empty', () => {
  expect(withParameter('', 'model', 'a b&c')).toBe('?model=a+b%26c')
  expect(withParameter('?node=x', 'model', 'demo')).toBe('?node=x&model=demo')
  expect(withParameter('?node=x&model=demo', 'node', '')).toBe('?model=demo')
  expect(withParameter('?node=x', 'node', '')).toBe('')
})

test('clicks that ask the browser for another tab are left to it', () => {
  const plain = {
    ...{ button: 0, metaKey: false, ctrlKey: false, shiftKey: false, altKey: false },
    defaultPrevented: false
  }
  expect(isPlainClick(plain)).toBe(true)
  for (const other of [{ button: 1 }, { ctrlKey: true }, { metaKey: true }, { defaultPrevented: true }]) {
    expect(isPlainClick({ ...plain, ...other })).toBe(false)
  }
})
