import { describe, expect, test } from 'vitest'
import type { Info } from '../net/index.ts'
import { discover } from './discover.ts'

const EMPTY: Info = { version: '1', stages: [], addresses: [], peers: [] }

function stage(start: number): Info['stages'][number] {
  return {
    ...{ model: 'a'.repeat(64), name: 'm', architecture: 'llama', start, end: start + 1, blockCount: 8 },
    ...{ width: 4, head: false, embedding: start === 0, context: 64, maxRows: 16 },
    profile: { kvTypeK: 'f16', kvTypeV: 'f16', flashAttention: true, codec: 'f32', longContext: false }
  }
}

/** A network in memory: what each node says when asked; a node that is missing is dead. */
class Network {
  readonly peerId = 'me'
  readonly asked: string[] = []
  readonly #nodes: (peer: string) => Info | undefined

  constructor(nodes: Record<string, Info> | ((peer: string) => Info | undefined)) {
    this.#nodes = typeof nodes === 'function' ? nodes : (peer) => nodes[peer]
  }

  async connect(address: string): Promise<string> {
    const peer = address.slice('/to/'.length)
    if (this.#nodes(peer) === undefined) throw new Error(`nobody at ${address}`)
    return peer
  }

  async info(peer: string, _addresses: string[], signal?: AbortSignal): Promise<Info> {
    signal?.throwIfAborted()
    this.asked.push(peer)
    const info = this.#nodes(peer)
    if (info === undefined) throw new Error(`${peer} is dead`)
    return info
  }
}

function naming(...peers: string[]): Info['peers'] {
  return peers.map((peer) => ({ peer, addresses: [`/to/${peer}`] }))
}

describe('discover', () => {
  test('asks those that others name, each once, and not itself', async () => {
    const network = new Network({
      a: { ...EMPTY, stages: [stage(0)], peers: naming('b', 'me') },
      b: { ...EMPTY, stages: [stage(1)], addresses: ['/own/b'], peers: naming('a', 'c') },
      c: { ...EMPTY, stages: [stage(2), stage(3)], peers: naming('b') }
    })
    const found = await discover(network, ['/to/a', '/to/a'])
    expect(network.asked.toSorted()).toEqual(['a', 'b', 'c'])
    expect(found.map(({ peer, addresses, stage }) => [peer, addresses, stage.start])).toEqual([
      ['a', ['/to/a'], 0],
      ['b', ['/own/b'], 1],
      ['c', ['/to/c'], 2],
      ['c', ['/to/c'], 3]
    ])
  })

  test('reports the dead and goes on without them', async () => {
    const network = new Network({ a: { ...EMPTY, stages: [stage(0)], peers: naming('gone') } })
    const unreachable: string[] = []
    const onUnreachable = (node: string, error: Error): number =>
      unreachable.push(`${node}: ${error.message}`)
    const found = await discover(network, ['/to/nowhere', '/to/a'], { onUnreachable })
    expect(found).toHaveLength(1)
    expect(unreachable.toSorted()).toEqual(['/to/nowhere: nobody at /to/nowhere', 'gone: gone is dead'])
  })

  test('asks a bounded number, however many are named', async () => {
    // Every node names ten others that nobody has named before.
    const network = new Network((peer) => ({
      ...EMPTY,
      peers: naming(...Array.from({ length: 10 }, (_, index) => `${peer}.${index}`))
    }))
    await discover(network, ['/to/a'])
    expect(network.asked).toHaveLength(255) // and itself
  })

  test('throws the reason of a signal', async () => {
    const network = new Network({ a: EMPTY })
    const signal = AbortSignal.abort(new Error('enough'))
    await expect(discover(network, ['/to/a'], { signal })).rejects.toThrow('enough')
  })
})
