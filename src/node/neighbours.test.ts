import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, readdir, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { Neighbours, runningNodes } from './neighbours.ts'

let folder: string
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'shoal-neighbours-'))
})
afterEach(() => rm(folder, { recursive: true, force: true }))

test('nodes of the same swarm find each other, until they leave', async () => {
  const [here, elsewhere] = [new Neighbours(folder, 'a'), new Neighbours(folder, 'b')]
  expect(await here.find()).toEqual([])
  await here.announce('one', ['/ip4/127.0.0.1/tcp/1'])
  await elsewhere.announce('two', ['/ip4/127.0.0.1/tcp/2'])
  expect(await here.find()).toEqual([{ peer: 'one', addresses: ['/ip4/127.0.0.1/tcp/1'] }])
  await here.withdraw('one')
  expect(await here.find()).toEqual([])
  expect(await elsewhere.find()).toHaveLength(1)
})

test('all that run can be found by their folders', async () => {
  const [here, elsewhere] = [new Neighbours(folder, 'a'), new Neighbours(folder, 'b')]
  await here.announce('one', [], '/data/b')
  await elsewhere.announce('two', [], '/data/a')
  await elsewhere.announce('three', [])
  expect(await runningNodes(folder)).toEqual(['/data/a', '/data/b'])
})

test('one that was killed is forgotten, and what is no entry is passed over', async () => {
  const child = spawn(process.execPath, ['-e', 'setInterval(() => {}, 1000)'])
  await once(child, 'spawn')
  const neighbours = new Neighbours(folder, 'a')
  await neighbours.announce('one', [])
  const [file] = await readdir(folder)
  const entry = JSON.stringify({ peer: 'two', addresses: [], swarm: 'x', process: child.pid })
  await writeFile(join(folder, 'two.json'), entry)
  await writeFile(join(folder, 'damaged.json'), '{"peer":')
  child.kill('SIGKILL')
  await once(child, 'exit')
  expect(await neighbours.find()).toEqual([{ peer: 'one', addresses: [] }])
  expect((await readdir(folder)).toSorted()).toEqual(['damaged.json', file].toSorted())
})
