// What a swarm asks of a host, with hosts on loopback.
import { randomBytes } from 'node:crypto'
import { afterEach, describe, expect, test, vi } from 'vitest'
import type { Clock } from '../common/index.ts'
import { createHost } from './host.ts'
import { verify } from './identity.ts'
import type { Handlers, Host, HostInit, Judge } from './types.ts'
import type { Info, SwarmAnswer, SwarmRequest } from './wire/types.ts'

const INFO: Info = { version: '1', stages: [], addresses: [], peers: [] }
const DIRECTORY: SwarmAnswer = { type: 'directory', announcements: [], summaries: [] }
const ASK: SwarmRequest = { type: 'directory', models: [] }
const MODEL = 'ab'.repeat(32)
const SERVES: Handlers = { info: () => INFO, control: () => {}, data: () => undefined, ask: () => DIRECTORY }

/** Time that passes when told. */
class StillClock implements Clock {
  ms = 0
  now = () => this.ms
  wall = () => this.ms
  after = () => () => {}
}

const hosts: Host[] = []

async function host(init: Partial<HostInit> = {}, handlers: Handlers = SERVES): Promise<Host> {
  const made = createHost({ identity: { ephemeral: true }, listen: ['/ip4/127.0.0.1/tcp/0'], ...init })
  hosts.push(made)
  made.serve(handlers)
  await made.start()
  return made
}

/** Both ends know each other when it resolves. */
async function link(from: Host, to: Host): Promise<void> {
  const both = Promise.all([connected(from, to), connected(to, from)])
  await from.connect(to.addresses[0]!)
  await both
}

function connected(host: Host, other: Host): Promise<void> {
  return new Promise((resolve) => {
    const stop = host.onConnect((peer) => {
      if (peer !== other.peerId) return
      stop()
      resolve()
    })
  })
}

afterEach(async () => {
  await Promise.all(hosts.splice(0).map((each) => each.stop()))
})

describe('peers', () => {
  test('are told of once they have said who they are, and when they are gone', async () => {
    const [a, b] = [await host(), await host()]
    const told: string[] = []
    a.onConnect((peer) => told.push(`+${peer}`))
    const gone = new Promise<void>((resolve) =>
      a.onDisconnect((peer) => {
        told.push(`-${peer}`)
        resolve()
      })
    )
    await link(b, a)
    await b.stop()
    await gone
    expect(told).toEqual([`+${b.peerId}`, `-${b.peerId}`])
  })

  test('addresses are what was dialled, and what they said themselves', async () => {
    const [a, b] = [await host(), await host()]
    expect(a.addressesOf(b.peerId)).toEqual([])
    await link(a, b)
    expect(a.addressesOf(b.peerId)).toEqual(b.addresses)
    expect(b.addressesOf(a.peerId)).toEqual(a.addresses) // b never dialled a
  })

  test('are pinged only while connected', async () => {
    const [a, b] = [await host(), await host()]
    await expect(a.ping(b.peerId)).rejects.toMatchObject({ code: 'CLOSED' })
    await link(a, b)
    const ms = await b.ping(a.peerId)
    expect(ms).toBeGreaterThan(0)
    expect(ms).toBeLessThan(1_000)
  })

  test('sign, and their peer id is enough to verify it', async () => {
    const [a, b] = [await host(), await host()]
    const bytes = Uint8Array.of(1, 2, 3)
    const signature = await a.sign(bytes)
    expect(signature).toHaveLength(64)
    expect(await verify(a.peerId, bytes, signature)).toBe(true)
    expect(await verify(a.peerId, Uint8Array.of(1, 2, 4), signature)).toBe(false)
    expect(await verify(b.peerId, bytes, signature)).toBe(false)
    expect(await verify('nobody', bytes, signature)).toBe(false)
    // A peer id with the hash of an RSA key.
    expect(await verify('QmYyQSo1c1Ym7orWxLYvCrM2EmxFTANf8wXmmE7DWjhx5N', bytes, signature)).toBe(false)
  })
})

describe('who is let in', () => {
  test('not a blocked peer, neither way', async () => {
    const outsider = await host()
    const a = await host({ gate: { block: new Set([outsider.peerId]) } })
    await expect(a.connect(outsider.addresses[0]!)).rejects.toMatchObject({ code: 'DIAL_DENIED' })
    await expect(outsider.ask(a.peerId, a.addresses, ASK)).rejects.toThrow()
    expect(a.peers).toEqual([])
    // Nor by an address that does not name it.
    await expect(a.connect(outsider.addresses[0]!.replace(/\/p2p\/.*/, ''))).rejects.toThrow()
    expect(a.peers).toEqual([])
  })

  test('only listed peers, where there is a list', async () => {
    const [friend, outsider] = [await host(), await host()]
    const a = await host({ gate: { allow: new Set([friend.peerId]) } })
    expect(await friend.ask(a.peerId, a.addresses, ASK)).toEqual(DIRECTORY)
    await expect(outsider.ask(a.peerId, a.addresses, ASK)).rejects.toThrow()
    await expect(a.connect(outsider.addresses[0]!)).rejects.toMatchObject({ code: 'DIAL_DENIED' })
    expect(a.peers).toEqual([friend.peerId])
  })

  test('not who was cut, until its time is over', async () => {
    const clock = new StillClock()
    const [a, b] = [await host({ clock }), await host()]
    await link(a, b)
    const gone = new Promise((resolve) => b.onDisconnect(resolve))
    a.cut(b.peerId, 'a test', 1_000)
    expect(await gone).toBe(a.peerId)
    await expect(b.ask(a.peerId, a.addresses, ASK)).rejects.toThrow()
    await expect(a.ask(b.peerId, b.addresses, ASK)).rejects.toMatchObject({ code: 'DIAL_DENIED' })
    clock.ms = 1_000
    expect(await a.ask(b.peerId, b.addresses, ASK)).toEqual(DIRECTORY)
  })

  test('with a pre-shared key, only who has it', async () => {
    const preSharedKey = randomBytes(32)
    const [a, b] = [await host({ preSharedKey }), await host({ preSharedKey })]
    const outsiders = [await host(), await host({ preSharedKey: randomBytes(32) })]
    expect(await b.ask(a.peerId, a.addresses, ASK)).toEqual(DIRECTORY)
    const dials = outsiders.map((outsider) =>
      outsider.connect(a.addresses[0]!, AbortSignal.timeout(1_000)).catch((error: Error) => error)
    )
    for (const dial of dials) expect(await dial).toMatchObject({ code: 'DIAL_FAILED' })
    expect(a.peers).toEqual([b.peerId])
  })
})

describe('requests', () => {
  test('are answered by who serves them, with who asks', async () => {
    const asked: unknown[] = []
    const ask = async (peer: string, request: SwarmRequest): Promise<SwarmAnswer> => {
      asked.push([peer, request])
      return { type: 'assign', accepted: false, message: 'no' }
    }
    const [a, b] = [await host({}, { ...SERVES, ask }), await host()]
    const request: SwarmRequest = { type: 'assign', model: MODEL, start: 1, end: 2 }
    expect(await b.ask(a.peerId, a.addresses, request)).toEqual({
      type: 'assign',
      accepted: false,
      message: 'no'
    })
    expect(asked).toEqual([[b.peerId, request]])
  })

  test('get answers of megabytes', async () => {
    const sealed = { payload: new Uint8Array(400).fill(7), signature: new Uint8Array(64) }
    const announcements = Array.from({ length: 8_000 }, () => ({ sealed, ageSeconds: 3 }))
    const answer: SwarmAnswer = { type: 'directory', announcements, summaries: [] }
    const [a, b] = [await host({}, { ...SERVES, ask: () => answer }), await host()]
    const got = await b.ask(a.peerId, a.addresses, ASK)
    expect(got).toMatchObject({ type: 'directory', announcements: { length: 8_000 } })
  })

  test('are refused where nobody serves them', async () => {
    const { ask: _, ...others } = SERVES
    const [a, b] = [await host({}, others), await host()]
    expect(await b.ask(a.peerId, a.addresses, ASK)).toMatchObject({ type: 'refused', code: 'unsupported' })
  })

  test('that fail reset the stream, and leave the connection', async () => {
    const handlers = { ...SERVES }
    handlers.ask = () => {
      throw new Error('a bug')
    }
    const [a, b] = [await host({}, handlers), await host()]
    await expect(b.ask(a.peerId, a.addresses, ASK)).rejects.toThrow()
    handlers.ask = () => DIRECTORY
    expect(await b.ask(a.peerId, [], ASK)).toEqual(DIRECTORY)
  })

  test('end with the reason of the signal', async () => {
    const [a, b] = [await host({}, { ...SERVES, ask: () => new Promise(() => {}) }), await host()]
    await link(b, a)
    const stop = new AbortController()
    const asking = b.ask(a.peerId, [], ASK, stop.signal)
    const reason = new Error('enough')
    stop.abort(reason)
    await expect(asking).rejects.toBe(reason)
  })

  test('of a flood are refused, then the flood is cut, and others are served all the while', async () => {
    const clock = new StillClock()
    const [a, flood, friend] = [await host({ clock }), await host(), await host()]
    await link(friend, a)
    const cut = new Promise((resolve) => flood.onDisconnect(resolve))
    const answers: Record<string, number> = {}
    for (;;) {
      const answer = await flood.ask(a.peerId, a.addresses, ASK).catch(() => undefined)
      if (answer === undefined) break
      const what = answer.type === 'refused' ? answer.code : answer.type
      answers[what] = (answers[what] ?? 0) + 1
    }
    expect(answers).toEqual({ directory: 64, busy: 256 })
    expect(await cut).toBe(a.peerId)
    expect(a.peers).toEqual([friend.peerId])
    expect(await friend.ask(a.peerId, [], ASK)).toEqual(DIRECTORY)
    clock.ms += 5 * 60_000
    expect(await flood.ask(a.peerId, a.addresses, ASK)).toEqual(DIRECTORY)
  })
})

describe('gossip', () => {
  const TOPIC = '/shoal/model/1/test'

  /** Remembers what it judged, by its first word. */
  function recorder(): { heard: string[]; judge: Judge } {
    const heard: string[] = []
    const judge: Judge = (message) => {
      const text = Buffer.from(message).toString()
      heard.push(text)
      if (text.startsWith('ignore')) return 'ignore'
      return text.startsWith('reject') ? 'reject' : 'accept'
    }
    return { heard, judge }
  }

  function publish(from: Host, text: string): Promise<void> {
    return from.publish(TOPIC, Buffer.from(text))
  }

  /** Until what is published by one is heard by the other: subscriptions take a moment to be known. */
  async function reaches(from: Host, heard: string[]): Promise<void> {
    let count = 0
    await vi.waitFor(async () => {
      await publish(from, `hello ${from.peerId} ${count++}`)
      expect(heard).toContainEqual(expect.stringMatching(`^hello ${from.peerId}`))
    })
  }

  test('is passed on when accepted, by those in between', async () => {
    const [a, between, c] = [await host(), await host(), await host()]
    const [middle, end] = [recorder(), recorder()]
    between.subscribe(TOPIC, middle.judge)
    c.subscribe(TOPIC, end.judge)
    await Promise.all([link(a, between), link(c, between)])
    await reaches(a, end.heard) // a does not subscribe
    for (const text of ['ignore it', 'reject it', 'accept it']) await publish(a, text)
    await vi.waitFor(() => expect(end.heard).toContain('accept it'))
    expect(middle.heard.filter((text) => text.endsWith(' it'))).toEqual([
      'ignore it',
      'reject it',
      'accept it'
    ])
    expect(end.heard.filter((text) => text.endsWith(' it'))).toEqual(['accept it'])
  })

  test('says the same on two topics', async () => {
    const [a, b] = [await host(), await host()]
    const [one, other] = [recorder(), recorder()]
    b.subscribe(TOPIC, one.judge)
    b.subscribe(`${TOPIC}/other`, other.judge)
    await link(a, b)
    await reaches(a, one.heard)
    await publish(a, 'twice')
    await a.publish(`${TOPIC}/other`, Buffer.from('twice'))
    await vi.waitFor(() => expect([one.heard.at(-1), other.heard.at(-1)]).toEqual(['twice', 'twice']))
  })

  test('of a peer whose messages are rejected is not looked at any more', async () => {
    const [a, liar, friend] = [await host(), await host(), await host()]
    const { heard, judge } = recorder()
    a.subscribe(TOPIC, judge)
    await Promise.all([link(liar, a), link(friend, a)])
    await Promise.all([reaches(liar, heard), reaches(friend, heard)])
    for (let i = 0; i < 4; i++) await publish(liar, `reject ${i}`)
    await vi.waitFor(() => expect(heard).toContain('reject 3'))
    let count = 0
    await vi.waitFor(
      async () => {
        const text = `accept from the liar ${count++}`
        await publish(liar, text)
        await liar.info(a.peerId, []) // on the same connection: what it published has come
        expect(heard).not.toContain(text)
      },
      { timeout: 5_000, interval: 100 } // scores are looked at once per second
    )
    await publish(friend, 'accept from the friend')
    await vi.waitFor(() => expect(heard).toContain('accept from the friend'))
    expect(a.peers).toContain(liar.peerId)
  })

  test('is kept across a restart, and can be left', async () => {
    const [a, b] = [await host(), await host()]
    const { heard, judge } = recorder()
    const leave = b.subscribe(TOPIC, judge)
    await b.stop()
    await b.start()
    await link(a, b)
    await reaches(a, heard)
    leave()
    const other = recorder()
    b.subscribe(`${TOPIC}/other`, other.judge)
    await vi.waitFor(async () => {
      await a.publish(`${TOPIC}/other`, randomBytes(8))
      expect(other.heard).not.toEqual([])
    })
    const before = heard.length
    await publish(a, 'is anybody there?')
    await a.info(b.peerId, [])
    expect(heard).toHaveLength(before)
  })

  test('has no message that is too large, and may reach nobody', async () => {
    const a = await host()
    await a.publish(TOPIC, new Uint8Array(16 * 1024))
    await expect(a.publish(TOPIC, new Uint8Array(16 * 1024 + 1))).rejects.toMatchObject({ code: 'TOO_LARGE' })
  })
})

describe('Kademlia', () => {
  test('finds who provides a model, by a node that both know', async () => {
    const [a, provider, consumer] = [
      await host({ kademlia: true }),
      await host({ kademlia: true }),
      await host({ kademlia: true, listen: [] })
    ]
    await Promise.all([link(provider, a), link(consumer, a)])
    const discovered: string[] = []
    consumer.onDiscovered(({ peer }) => discovered.push(peer))
    const found = await vi.waitFor(async () => {
      await provider.provide(MODEL)
      for await (const each of consumer.findProviders(MODEL)) return each
      throw new Error('nobody yet')
    })
    expect(found.peer).toBe(provider.peerId)
    expect(await consumer.ask(found.peer, found.addresses, ASK)).toEqual(DIRECTORY)
    expect(discovered).toContain(provider.peerId)
  })

  test('ends where there is nobody, or nobody to ask', async () => {
    const [lonely, without] = [await host({ kademlia: true }), await host()]
    for (const each of [lonely, without]) {
      await each.provide(MODEL)
      expect(await Array.fromAsync(each.findProviders(MODEL))).toEqual([])
    }
  })

  test('ends with its signal', async () => {
    const a = await host({ kademlia: true })
    expect(await Array.fromAsync(a.findProviders(MODEL, AbortSignal.abort()))).toEqual([])
    await a.provide(MODEL, AbortSignal.abort())
  })
})
