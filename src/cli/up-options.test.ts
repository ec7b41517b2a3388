import { expect, test } from 'vitest'
import type { SharingFile } from '../node/index.ts'
import { startsSharing } from './up-options.ts'

const file = (isOn: boolean | undefined): SharingFile => ({
  isOn,
  hasSaidYes: isOn === true,
  settings: {},
  withheld: []
})
const BLOCKS = { start: 0, end: 2 }

test.each([
  ['nothing was said', {}, undefined, true],
  ['the page said yes', {}, true, true],
  ['the page said no', {}, false, false],
  ['the page said no, the command how much', { memory: 5 }, false, true],
  ['the page said no, the command which blocks', { blocks: BLOCKS }, false, true],
  ['it has to be asked', { share: false }, undefined, false],
  ['it has to be asked, and was', { share: false }, true, true],
  ['it has to be asked, and how much is no answer', { share: false, memory: 5 }, undefined, false]
])('whether it shares where %s', (_, options, isOn, expected) => {
  expect(startsSharing({ share: true, ...options }, file(isOn))).toBe(expected)
})
