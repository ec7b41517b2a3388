// A person's node, as its pages change it, and what is left of that at the next start.
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { DEMO, eventually } from '../../test/swarm.ts'
import type { SharingSettings } from '../gateway/index.ts'
import { ManualClock } from '../swarm/testing-clock.ts'
import type { Conditions } from './availability.ts'
import { Control } from './control.ts'
import { Node } from './node.ts'
import { readSharingFile } from './sharing-file.ts'

const ENGINE = { context: 256, sessions: 1, threads: 1, gpuLayers: 0, kvType: 'f16' } as const
const MEMORY = 2 ** 30

let folder: string
let clock: ManualClock
let conditions: Conditions
const parts: { stop(): Promise<void> }[] = []

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'shoal-control-'))
  clock = new ManualClock()
  conditions = { weekday: 0, hour: 12 }
})

afterEach(async () => {
  await stop()
  await rm(folder, { recursive: true, force: true })
})

async function stop(): Promise<void> {
  for (const part of parts.splice(0)) await part.stop()
}

/** As `shoal up` does. */
async function start(
  fixed: Partial<SharingSettings> = {},
  startsSharing = false
): Promise<{ node: Node; control: Control }> {
  const node = new Node({
    ...{ dataDir: folder, listen: ['/ip4/127.0.0.1/tcp/0'], peers: [], startsSharing },
    contribution: { ...ENGINE, models: [DEMO], memoryBytes: fixed.memoryBytes ?? undefined }
  })
  const control = new Control(
    { node, clock, conditions: () => conditions },
    { dataDir: folder, store: join(folder, 'store'), file: await readSharingFile(folder), fixed }
  )
  await control.start()
  parts.push(node, control)
  await node.start()
  return { node, control }
}

async function hosting(control: Control): Promise<string> {
  const { sharing } = await control.report()
  return `${sharing.state} ${sharing.hosting.map(({ start, end, state }) => `${start}-${end} ${state}`).join()}`.trim()
}

describe('sharing', () => {
  test('begins with a yes, is paused, goes on, and ends; the node stays, and it is remembered', async () => {
    const { node, control } = await start()
    expect(await control.report()).toMatchObject({ sharing: { state: 'off', hasSaidYes: false } })
    await control.share({ on: true, memoryBytes: MEMORY })
    await eventually(() => expect(node.hosted).toHaveLength(1))
    expect(await hosting(control)).toBe('on 0-8 ready')
    await control.pause()
    expect((await control.report()).sharing).toMatchObject({ state: 'paused', pausedBy: 'person' })
    await control.resume()
    expect((await control.report()).sharing).toMatchObject({ state: 'on', hasSaidYes: true })
    await control.share({ on: false })
    await eventually(() => expect(node.sharing.state).toBe('off'))
    expect([node.stage, node.notReady]).toEqual([undefined, undefined])
    expect(await readSharingFile(folder)).toMatchObject({
      isOn: false,
      hasSaidYes: true,
      settings: { memoryBytes: MEMORY }
    })
    await expect(control.pause()).rejects.toMatchObject({ code: 'OFF' })
  })

  test('what needs a new start of sharing is named, until there was one', async () => {
    const { node, control } = await start()
    await control.share({ on: true, memoryBytes: MEMORY })
    await eventually(() => expect(node.hosted).toHaveLength(1))
    await control.change({ threads: 2, uploadBytesPerSecond: 5_000 })
    expect(await control.report()).toMatchObject({ needRestart: ['threads'], settings: { threads: 2 } })
    expect(node.library.exchange.seeder.bytesPerSecond).toBe(5_000)
    await control.finish()
    await eventually(() => expect(node.sharing.state).toBe('off'))
    await control.share({ on: true })
    await eventually(() => expect(node.hosted).toHaveLength(1))
    expect((await control.report()).needRestart).toEqual([])
    expect(node.stage?.engine.description.threads).toBe(2)
  })

  test('what could not be begun is said', async () => {
    const { node, control } = await start()
    await control.share({ on: true, models: [join(folder, 'gone.gguf')] })
    await eventually(() => expect(node.sharing.state).toBe('off'))
    expect((await control.report()).sharing.placement).toMatch(/no such file/)
  })
})

describe('settings', () => {
  test('outlive the node, and what the command line says wins', async () => {
    const first = await start()
    await first.control.change({
      memoryBytes: 5,
      diskBytes: 9_000_000,
      downloadBytesPerSecond: 2_000,
      idleOnly: true
    })
    await stop()
    const { node, control } = await start({ memoryBytes: 7 })
    const { settings, fixed } = await control.report()
    expect(settings).toMatchObject({ memoryBytes: 7, diskBytes: 9_000_000, idleOnly: true })
    expect(fixed).toEqual(['memoryBytes'])
    expect(node.library.exchange.downloads.rate).toBe(2_000)
    await expect(control.change({ memoryBytes: 6 })).rejects.toThrow(
      /memoryBytes was given when the node was started/
    )
    await control.change({ memoryBytes: 7, threads: 3 })
    expect((await control.report()).settings.threads).toBe(3)
  })

  test('a file that somebody broke is not taken for none', async () => {
    await writeFile(join(folder, 'sharing.json'), '{"isOn": "maybe"}')
    await expect(readSharingFile(folder)).rejects.toMatchObject({
      code: 'SHARING_FILE',
      message: expect.stringContaining('isOn')
    })
  })

  test('the schedule pauses, and goes on, by itself', async () => {
    const { node, control } = await start({}, true)
    await eventually(() => expect(node.hosted).toHaveLength(1))
    await control.change({ schedule: [[13], [], [], [], [], [], []] })
    expect((await control.report()).sharing).toMatchObject({
      ...{ state: 'paused', pausedBy: 'schedule', reason: expect.stringContaining('schedule') }
    })
    expect(node.hosted).toEqual([])
    conditions = { weekday: 0, hour: 13 }
    await clock.advance(10_000)
    expect(await hosting(control)).toBe('on 0-8 ready')
  })

  test('the battery matters once somebody has said yes in the page', async () => {
    conditions = { ...conditions, isOnBattery: true }
    const { node, control } = await start({}, true)
    await eventually(() => expect(node.hosted).toHaveLength(1))
    expect(await hosting(control)).toBe('on 0-8 ready')
    await control.share({ on: true })
    expect((await control.report()).sharing).toMatchObject({ state: 'paused', pausedBy: 'battery' })
  })
})

describe('models', () => {
  test('are pulled, withheld from others, given again, and removed', async () => {
    const { node, control } = await start()
    const { id } = await control.pull({ name: 'demo' })
    await eventually(() => expect(node.pulls.reports[0]?.state).toBe('done'))
    await clock.advance(2_000)
    const { models, pulls } = await control.report()
    const [model] = models
    expect(pulls).toMatchObject([{ id, name: 'demo', bytes: model?.bytes }])
    expect(model).toMatchObject({
      name: 'demo:2m-q8_0',
      isSeeded: true,
      isHosted: false,
      blocks: [0, 1, 2, 3, 4, 5, 6, 7]
    })
    expect([model?.piecesThere, new Set(model?.bar), model?.bar.length]).toEqual([
      model?.pieces,
      new Set([1]),
      100
    ])
    await control.seed(model?.id ?? '', false)
    expect((await control.report()).models[0]?.isSeeded).toBe(false)
    expect(node.library.seeds).not.toContain(model?.id)
    await control.seed(model?.id ?? '', true)
    expect(node.library.seeds).toContain(model?.id)
    await control.remove(model?.id ?? '')
    await control.remove(id)
    expect(await control.report()).toMatchObject({ models: [], pulls: [] })
    await expect(control.remove('nothing')).rejects.toMatchObject({ code: 'MODEL' })
    await expect(control.seed('nothing', true)).rejects.toMatchObject({ code: 'MODEL' })
  })

  test('what is withheld stays so', async () => {
    const first = await start()
    await first.control.pull({ name: 'demo' })
    await eventually(() => expect(first.node.pulls.reports[0]?.state).toBe('done'))
    const { models } = await first.control.report()
    const model = models[0]?.id ?? ''
    await first.control.seed(model, false)
    await stop()
    const second = await start()
    await second.node.library.look()
    expect(second.node.library.seeds).not.toContain(model)
  })
})

describe('swarms', () => {
  test('an invitation makes one, of which the node is from its next start on', async () => {
    const { control } = await start()
    const made = await control.invite({ name: 'reef', uses: 2 })
    expect(made).toMatchObject({ swarm: 'reef', uses: 2, isNew: true, needsRestart: true })
    expect(made.token).toMatch(/^shoal1/)
    expect((await control.report()).swarm).toEqual({
      kind: 'local',
      isFounder: false,
      next: { kind: 'private', name: 'reef' }
    })
    const again = await control.invite({})
    expect([again.isNew, again.swarm]).toEqual([false, 'reef'])
    const signal = new AbortController().signal
    await expect(control.join({ token: 'public' }, signal)).rejects.toMatchObject({ code: 'JOINED' })
    expect(await control.leave()).toEqual({ swarm: { kind: 'local' }, needsRestart: true })
    expect((await control.report()).swarm.next).toBeUndefined()
    await expect(control.join({ token: 'nonsense' }, signal)).rejects.toThrow()
    expect(await control.join({ token: 'public' }, signal)).toMatchObject({ swarm: { kind: 'public' } })
    expect(JSON.parse(await readFile(join(folder, 'swarm.json'), 'utf8'))).toMatchObject({ kind: 'public' })
  })
})
