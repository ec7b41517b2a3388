import { expect, test } from 'vitest'
import { readAttachments } from './attachments.ts'

test('text is read, and its lines end alike', async () => {
  expect(await readAttachments([new File(['a\r\nb'], 'a.txt')], 0)).toEqual([{ name: 'a.txt', text: 'a\nb' }])
})

test.each([
  ['is not a text file', new File([new Uint8Array([0xff, 0xfe, 0x00])], 'a.png')],
  ['is not a text file', new File(['a\0b'], 'a.bin')],
  ['is too large', new File(['a'.repeat(1_000_001)], 'a.log')]
])('%s', async (message, file) => {
  await expect(readAttachments([file], 0)).rejects.toThrow(message)
})

test('so are too many', async () => {
  await expect(readAttachments([new File(['a'], 'a.txt')], 16)).rejects.toThrow('At most 16')
})
