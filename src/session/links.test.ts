// Connections that break between living nodes: sessions resume, links are dialled again or go through the consumer.
import { connect, createServer, type Server, type Socket } from 'node:net'
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import { TestSwarm, wholeAnswer, wholeModel } from '../../test/swarm.ts'
import type { LlamaEngine } from '../engine/index.ts'
import type { DataSender } from '../net/index.ts'
import type { Node } from '../node/index.ts'
import { type ChainHop, prefillRows } from '../swarm/index.ts'
import { Talk } from './swarm-testing.ts'
import { all, FISH, NO_END, SUN } from './testing.ts'

const TOKENS = 40

let whole: LlamaEngine
let swarm: TestSwarm
let chain: ChainHop[]
let prompt: Int32Array
let expected: number[]
let talk: Talk

beforeAll(async () => {
  whole = wholeModel()
  ;[swarm] = await Promise.all([TestSwarm.start(['0-3', '3-6', '6-8']), whole.start()])
  chain = await swarm.chain()
  prompt = await whole.tokenize(FISH)
  expected = await wholeAnswer(whole, prompt, TOKENS)
})

afterAll(async () => {
  await Promise.all([swarm?.stop(), whole?.stop()])
})

/** Nobody was lost, and nobody has computed a row twice. */
async function expectUndisturbed(): Promise<void> {
  expect(talk.count('lost')).toBe(0)
  expect(talk.chain.map(({ peer }) => peer)).toEqual(chain.map(({ peer }) => peer))
  const length = prompt.length + TOKENS - 1
  expect(await talk.rows()).toEqual([length, length, length])
}

describe('a link between two stages', () => {
  let restore: () => void = () => {}

  afterEach(async () => {
    restore()
    await talk.session.close()
    await swarm.allFree()
  })

  /** From the node at a hop to the next one; `cut` breaks what there is, `swallow` the next frame. */
  function watch(hop: number): { cut: () => void; deny: () => void; swallow: () => void } {
    const { host } = swarm.at(chain[hop])
    const next = chain[hop + 1]?.peer
    const senders: DataSender[] = []
    let isDenied = false
    let isSwallowing = false
    const { openData } = host
    host.openData = async (peer, ...rest) => {
      if (peer !== next) return openData.call(host, peer, ...rest)
      if (isDenied) throw new Error('no route to host')
      const sender = await openData.call(host, peer, ...rest)
      senders.push(sender)
      const { send } = sender
      sender.send = async (frame) => {
        if (!isSwallowing) return send.call(sender, frame)
        isSwallowing = false
      }
      return sender
    }
    restore = () => {
      host.openData = openData
    }
    const deny = (): void => {
      isDenied = true
    }
    const cut = (): void => {
      for (const sender of senders) sender.abort(new Error('cut'))
    }
    const swallow = (): void => {
      isSwallowing = true
    }
    return { cut, deny, swallow }
  }

  test.each([0, 1])('after hop %i that never comes about goes through the consumer', async (hop) => {
    watch(hop).deny()
    talk = await Talk.open(swarm, { chain, directory: undefined })
    expect(await talk.answer(prompt, TOKENS)).toEqual(expected)
    expect(talk.events).toMatchObject([{ type: 'relayed', hop: { peer: chain[hop + 1]?.peer } }])
    await expectUndisturbed()
  })

  test.each([0, 1])('after hop %i that breaks for good goes through the consumer', async (hop) => {
    const { cut, deny } = watch(hop)
    talk = await Talk.open(swarm, { chain, directory: undefined })
    const answer = await talk.answer(prompt, TOKENS, async () => {
      deny()
      cut()
    })
    expect(answer).toEqual(expected)
    expect(talk.events.map(({ type }) => type)).toEqual(['relayed', 'repaired'])
    await expectUndisturbed()
  })

  test.each([0, 1])('after hop %i that swallows another question', async (hop) => {
    const { swallow } = watch(hop)
    talk = await Talk.open(swarm, { chain, directory: undefined })
    await talk.answer(prompt, TOKENS)
    const other = await whole.tokenize(SUN)
    swallow()
    expect(await talk.answer(other, 8)).toEqual(await wholeAnswer(whole, other, 8))
    expect(talk.count('lost')).toBe(0)
  })

  test.each([0, 1])('after hop %i that swallows what another question begins with', async (hop) => {
    const { swallow } = watch(hop)
    talk = await Talk.open(swarm, { chain, directory: undefined })
    await talk.answer(prompt, TOKENS)
    // There are as many rows of the first question as the second has, and none is of it.
    const other = await whole.tokenize(
      `${SUN} bright. A small girl went out to play with her big red ball. She saw a dog and`
    )
    expect(prefillRows(other.length)).toBeLessThan(other.length)
    swallow()
    expect(other.length).toBeLessThan(prompt.length + TOKENS)
    expect(await talk.answer(other, 8)).toEqual(await wholeAnswer(whole, other, 8))
    expect(talk.count('lost')).toBe(0)
  })

  test('that breaks once is there again', async () => {
    const { cut } = watch(0)
    talk = await Talk.open(swarm, { chain, directory: undefined })
    expect(await talk.answer(prompt, TOKENS, async () => cut())).toEqual(expected)
    await expectUndisturbed()
  })
})

describe('a connection of the consumer', () => {
  let consumer: Node
  let forwarder: Forwarder

  afterEach(async () => {
    await talk.session.close()
    await swarm.allFree()
    await forwarder.stop()
    await consumer.stop()
  })

  /** The chain with one hop behind the forwarder. */
  async function detour(hop: number): Promise<ChainHop[]> {
    const behind = chain[hop] as ChainHop
    const [address = ''] = behind.addresses
    const port = Number(/\/tcp\/(\d+)/.exec(address)?.[1])
    forwarder = new Forwarder(port)
    const addresses = [address.replace(`/tcp/${port}`, `/tcp/${await forwarder.start()}`)]
    return chain.map((place) => (place === behind ? { ...place, addresses } : place))
  }

  test.each([0, 1, 2])('to hop %i that breaks costs nothing but the time to dial again', async (hop) => {
    consumer = await swarm.stranger()
    talk = await Talk.open(swarm, { consumer, chain: await detour(hop), directory: undefined })
    const dialled = forwarder.connections
    const answer = await talk.answer(prompt, TOKENS, async () => forwarder.cut())
    expect(answer).toEqual(expected)
    expect(forwarder.connections).toBeGreaterThan(dialled)
    await expectUndisturbed()
  })

  test('that takes what was said over it along is told again', async () => {
    consumer = await swarm.stranger()
    const { host } = consumer
    const { openControl, openData } = host
    // The way to the first hop breaks, and the ticket for another one is lost with the connection.
    let lost = 0
    host.openControl = async (...args) => {
      const control = await openControl.apply(host, args)
      const { send } = control
      control.send = (message) => {
        if (lost > 0 || message.type !== 'rewire') return send.call(control, message)
        lost += 1
        control.abort(new Error('cut'))
        return true
      }
      return control
    }
    let isDenied = false
    const senders: DataSender[] = []
    host.openData = async (...args) => {
      if (isDenied && lost === 0) throw new Error('no route to host')
      const sender = await openData.apply(host, args)
      senders.push(sender)
      return sender
    }
    talk = await Talk.open(swarm, { consumer, chain: await detour(0), directory: undefined })
    const answer = await talk.answer(prompt, TOKENS, async () => {
      isDenied = true
      for (const sender of senders) sender.abort(new Error('cut'))
    })
    expect(answer).toEqual(expected)
    expect(lost).toBe(1)
    await expectUndisturbed()
  })

  test('that breaks again and again costs no more', async () => {
    consumer = await swarm.stranger()
    talk = await Talk.open(swarm, { consumer, chain: await detour(2), directory: undefined })
    const answer = talk.session.generate(prompt, { maxTokens: TOKENS, endTokens: NO_END })
    const drawn: number[] = []
    for (let times = 0; times < 3; times++) {
      for (let count = 0; count < 8; count++) drawn.push((await answer.next()).value as number)
      forwarder.cut()
    }
    drawn.push(...(await all(answer)))
    expect(drawn).toEqual(expected)
    await expectUndisturbed()
  })
})

/** Passes on what comes to it to a port of this machine. */
class Forwarder {
  connections = 0
  readonly #server: Server
  readonly #sockets = new Set<Socket>()

  constructor(port: number) {
    this.#server = createServer((socket) => {
      this.connections += 1
      const onward = connect(port, '127.0.0.1')
      for (const end of [socket, onward]) {
        this.#sockets.add(end)
        end.setNoDelay(true)
        end.on('error', () => {})
        end.on('close', () => {
          this.#sockets.delete(end)
          socket.destroy()
          onward.destroy()
        })
      }
      socket.pipe(onward).pipe(socket)
    })
  }

  start(): Promise<number> {
    return new Promise((resolve) => {
      this.#server.listen(0, '127.0.0.1', () => {
        const address = this.#server.address()
        resolve(typeof address === 'object' ? (address?.port ?? 0) : 0)
      })
    })
  }

  /** All connections through it. */
  cut(): void {
    for (const socket of this.#sockets) socket.resetAndDestroy()
  }

  stop(): Promise<void> {
    this.cut()
    return new Promise((resolve) => {
      this.#server.close(() => resolve())
    })
  }
}
