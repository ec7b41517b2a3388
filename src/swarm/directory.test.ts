import { beforeEach, describe, expect, test } from 'vitest'
import type { Info, SessionHost, StageInfo } from '../net/index.ts'
import { Directory } from './directory.ts'

function stage(start: number): StageInfo {
  return {
    ...{ model: 'a'.repeat(64), name: 'm', architecture: 'llama', start, end: start + 1, blockCount: 8 },
    ...{ width: 4, head: false, embedding: start === 0, context: 64, maxRows: 16 },
    profile: { kvTypeK: 'f16', kvTypeV: 'f16', flashAttention: true, codec: 'f32', longContext: false }
  }
}

/** What each node says when asked, or when; a node that is missing is dead. */
const nodes = new Map<string, Info | Promise<Info>>()
let asked: string[]

const network: Pick<SessionHost, 'connect' | 'info' | 'peerId'> = {
  peerId: 'me',
  connect: async (address) => address.slice('/to/'.length),
  info: async (peer, _, signal) => {
    asked.push(peer)
    signal?.throwIfAborted()
    const info = nodes.get(peer)
    if (info === undefined) throw new Error(`${peer} is dead`)
    return info
  }
}
const host = network as SessionHost

function hosting(...starts: number[]): Info {
  return { version: '1', stages: starts.map(stage), addresses: [], peers: [] }
}

function known({ stages }: Directory): string[] {
  return stages.map(({ peer, stage }) => `${stage.start} at ${peer}`).toSorted()
}

beforeEach(() => {
  asked = []
  nodes.clear()
  nodes.set('a', hosting(0, 1))
  nodes.set('b', hosting(2))
})

describe('a directory', () => {
  test('knows nothing before it has asked', async () => {
    const directory = new Directory({ host }, { addresses: ['/to/a', '/to/b'] })
    expect(directory.stages).toEqual([])
    expect(asked).toEqual([])
    await directory.refresh()
    expect(known(directory)).toEqual(['0 at a', '1 at a', '2 at b'])
  })

  test('takes what a node says now for what it said before', async () => {
    const directory = new Directory({ host }, { addresses: ['/to/a', '/to/b'] })
    await directory.refresh()
    nodes.set('a', hosting(5))
    nodes.set('b', hosting())
    await directory.refresh()
    expect(known(directory)).toEqual(['5 at a'])
  })

  test('forgets who is dead, and says who can’t be reached', async () => {
    const unreachable: string[] = []
    const onUnreachable = (node: string, { message }: Error): number =>
      unreachable.push(`${node}: ${message}`)
    const directory = new Directory({ host }, { addresses: ['/to/a', '/to/b'], onUnreachable })
    await directory.refresh()
    nodes.delete('a')
    await directory.refresh()
    expect(known(directory)).toEqual(['2 at b'])
    expect(unreachable).toEqual(['a: a is dead'])
  })

  test('gives what is known while others have not answered, and forgets nobody until then', async () => {
    const directory = new Directory({ host }, { addresses: ['/to/a', '/to/b'] })
    await directory.refresh()
    const slow = Promise.withResolvers<Info>()
    nodes.set('a', hosting(7))
    nodes.set('b', slow.promise)
    const refreshed = directory.refresh()
    await new Promise(setImmediate)
    expect(known(directory)).toEqual(['2 at b', '7 at a'])
    slow.resolve(hosting(3))
    await refreshed
    expect(known(directory)).toEqual(['3 at b', '7 at a'])
  })

  test('asks once for those who ask at the same time', async () => {
    const directory = new Directory({ host }, { addresses: ['/to/a', '/to/b'] })
    await Promise.all([directory.refresh(), directory.refresh()])
    expect(asked.toSorted()).toEqual(['a', 'b'])
    await directory.refresh()
    expect(asked).toHaveLength(4)
  })

  test('throws the reason of a signal, and keeps what it knew', async () => {
    const directory = new Directory({ host }, { addresses: ['/to/a'] })
    await directory.refresh()
    await expect(directory.refresh(AbortSignal.abort(new Error('enough')))).rejects.toThrow('enough')
    expect(known(directory)).toEqual(['0 at a', '1 at a'])
    await directory.refresh()
  })
})
