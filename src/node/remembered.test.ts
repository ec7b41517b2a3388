import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { rememberedPeers, rememberPeers } from './remembered.ts'

let folder: string
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'shoal-remembered-'))
})
afterEach(() => rm(folder, { recursive: true, force: true }))

const peer = (name: string, port = 1) => ({ peer: name, addresses: [`/ip4/127.0.0.1/tcp/${port}`] })

test('peers are remembered, the latest first, with their latest addresses', async () => {
  expect(await rememberedPeers(folder)).toEqual([])
  await rememberPeers(folder, [peer('a'), peer('b')])
  await rememberPeers(folder, [peer('c'), peer('b', 2), { peer: 'nowhere', addresses: [] }])
  expect(await rememberedPeers(folder)).toEqual([peer('c'), peer('b', 2), peer('a')])
})

test('no more than there is room for', async () => {
  await rememberPeers(
    folder,
    Array.from({ length: 100 }, (_, index) => peer(`${index}`))
  )
  expect(await rememberedPeers(folder)).toHaveLength(64)
})

test('a damaged file is none', async () => {
  await writeFile(join(folder, 'peers.json'), '[{"peer":')
  expect(await rememberedPeers(folder)).toEqual([])
  await rememberPeers(folder, [peer('a')])
  expect(await rememberedPeers(folder)).toEqual([peer('a')])
})
