import { beforeEach, describe, expect, test } from 'vitest'
import type { Info, SessionHost, StageInfo } from '../net/index.ts'
import { NamedNodes } from './named-nodes.ts'

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

function known({ stages }: NamedNodes): string[] {
  return stages.map(({ peer, stage }) => `${stage.start} at ${peer}`).toSorted()
}

beforeEach(() => {
  asked = []
  nodes.clear()
  nodes.set('a', hosting(0, 1))
  nodes.set('b', hosting(2))
})

describe('named nodes', () => {
  test('knows nothing before it has asked', async () => {
    const named = new NamedNodes({ host }, { addresses: ['/to/a', '/to/b'] })
    expect(named.stages).toEqual([])
    expect(asked).toEqual([])
    await named.refresh()
    expect(known(named)).toEqual(['0 at a', '1 at a', '2 at b'])
  })

  test('takes what a node says now for what it said before', async () => {
    const named = new NamedNodes({ host }, { addresses: ['/to/a', '/to/b'] })
    await named.refresh()
    nodes.set('a', hosting(5))
    nodes.set('b', hosting())
    await named.refresh()
    expect(known(named)).toEqual(['5 at a'])
  })

  test('forgets who is dead, and says who can’t be reached', async () => {
    const unreachable: string[] = []
    const onUnreachable = (node: string, { message }: Error): number =>
      unreachable.push(`${node}: ${message}`)
    const named = new NamedNodes({ host }, { addresses: ['/to/a', '/to/b'], onUnreachable })
    await named.refresh()
    nodes.delete('a')
    await named.refresh()
    expect(known(named)).toEqual(['2 at b'])
    expect(unreachable).toEqual(['a: a is dead'])
  })

  test('gives what is known while others have not answered, and forgets nobody until then', async () => {
    const named = new NamedNodes({ host }, { addresses: ['/to/a', '/to/b'] })
    await named.refresh()
    const slow = Promise.withResolvers<Info>()
    nodes.set('a', hosting(7))
    nodes.set('b', slow.promise)
    const refreshed = named.refresh()
    await new Promise(setImmediate)
    expect(known(named)).toEqual(['2 at b', '7 at a'])
    slow.resolve(hosting(3))
    await refreshed
    expect(known(named)).toEqual(['3 at b', '7 at a'])
  })

  test('asks once for those who ask at the same time', async () => {
    const named = new NamedNodes({ host }, { addresses: ['/to/a', '/to/b'] })
    await Promise.all([named.refresh(), named.refresh()])
    expect(asked.toSorted()).toEqual(['a', 'b'])
    await named.refresh()
    expect(asked).toHaveLength(4)
  })

  test('throws the reason of a signal, and keeps what it knew', async () => {
    const named = new NamedNodes({ host }, { addresses: ['/to/a'] })
    await named.refresh()
    await expect(named.refresh(AbortSignal.abort(new Error('enough')))).rejects.toThrow('enough')
    expect(known(named)).toEqual(['0 at a', '1 at a'])
    await named.refresh()
  })
})
