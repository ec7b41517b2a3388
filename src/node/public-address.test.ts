import { expect, test } from 'vitest'
import { isPublicAddress } from './public-address.ts'

test.each([
  ['http://127.0.0.1/', false],
  ['http://2130706433/', false],
  ['http://localhost/', false],
  ['http://10.1.2.3:8080/x', false],
  ['http://100.64.0.1/', false],
  ['http://169.254.169.254/latest/meta-data', false],
  ['http://172.31.0.1/', false],
  ['http://192.168.1.1/', false],
  ['http://0.0.0.0/', false],
  ['http://255.255.255.255/', false],
  ['http://[::1]/', false],
  ['http://[::ffff:192.168.1.1]/', false],
  ['http://[64:ff9b::c0a8:101]/', false],
  ['http://[fd00::1]/', false],
  ['http://[fe80::1]/', false],
  ['https://8.8.8.8/', true],
  ['https://172.32.0.1/', true],
  ['https://[2606:4700::1]/', true],
  ['https://[::ffff:8.8.8.8]/', true]
])('%s', async (url, isPublic) => {
  expect(await isPublicAddress(new URL(url))).toBe(isPublic)
})
