// Whatever a peer sends, the engine's process lives, nothing stays taken, and others get right answers.
import { randomBytes } from 'node:crypto'
import type { Stream } from '@libp2p/interface'
import { multiaddr } from '@multiformats/multiaddr'
import fc from 'fast-check'
import type { Libp2p } from 'libp2p'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { HandPeer } from '../../test/hand-peer.ts'
import { FakeControl, FakeData, FakeReceiver } from '../../test/streams.ts'
import { eventually, TestSwarm } from '../../test/swarm.ts'
import { loadIdentity } from '../net/identity.ts'
import {
  bytesPerRow,
  type ControlMessage,
  encodeRows,
  type Frame,
  type Open,
  ROW_CODECS,
  type RowCodec,
  type SampleMode,
  type SamplerOptions
} from '../net/index.ts'
import { startLibp2p } from '../net/libp2p.ts'
import type { Node } from '../node/index.ts'
import { defaultSampler } from '../session/index.ts'
import { StageServer } from './server.ts'
import type { Stage } from './stage.ts'

const SEED = 20_260_103
const WIDTH = 128
const CONTEXT = 1024
const SESSIONS = 4
const FREE = { sequences: SESSIONS, positions: CONTEXT }
const RESERVE = 64
const LONGEST_PREFIX = 8

let swarm: TestSwarm
let stages: Record<'first' | 'middle' | 'tail', Stage>

beforeAll(async () => {
  swarm = await TestSwarm.start(['0-3', '3-6', '6-8'])
  const at = (start: number): Stage => nodeAt(start).stage as Stage
  stages = { first: at(0), middle: at(3), tail: at(6) }
})

afterAll(() => swarm?.stop())

function nodeAt(start: number): Node {
  return swarm.nodes.find(({ stage }) => stage?.info.start === start) as Node
}

/** A session on a stage, its streams in memory: frames come as they are, past the decoder. */
function openOn(
  stage: Stage,
  changes: Partial<Open> = {}
): { server: StageServer; message: Open; control: FakeControl; data: FakeReceiver; next: FakeData } {
  const next = new FakeData()
  const server = new StageServer({ host: { openData: async () => next } })
  server.add(stage)
  const { model, start, end, head, profile } = stage.info
  const message: Open = {
    ...{ type: 'open', session: randomBytes(16), model, start, end, head, profile },
    ...{ ticketIn: randomBytes(16), reserve: RESERVE },
    ...(head
      ? { sampler: defaultSampler() }
      : { next: { peer: 'b', addresses: [], ticket: randomBytes(16) } }),
    ...changes
  }
  const [control, data] = [new FakeControl(), new FakeReceiver()]
  server.control(control)
  control.say(message)
  void server.data(message.ticketIn, data)
  return { server, message, control, data, next }
}

function frame(
  stage: Stage,
  position: number,
  count: number,
  changes: Partial<Frame> = {},
  codec: RowCodec = 'f32'
): Frame {
  const tokens = Int32Array.from({ length: count }, (_, row) => 50 + row)
  const common = { epoch: 0, follows: 0, position, tokens, sample: 'last' as const }
  if (stage.info.embedding) return { ...common, codec: 'none', payload: new Uint8Array(0), ...changes }
  const floats = Float32Array.from({ length: count * WIDTH }, (_, at) => Math.sin(at + position))
  const payload = new Uint8Array(count * bytesPerRow(codec, WIDTH))
  encodeRows(codec, floats, WIDTH, payload)
  return { ...common, codec, payload, ...changes }
}

/** What the stage says or sends on for a session that does nothing wrong. */
async function honestAnswer(stage: Stage): Promise<unknown> {
  const { control, data, next } = openOn(stage)
  data.push(frame(stage, 0, 5))
  const answer = await eventually(() => {
    const tokens = control.sent.find(({ type }) => type === 'tokens')
    const sent = next.frames[0]?.payload
    if (tokens === undefined && sent === undefined) throw new Error(`only ${JSON.stringify(control.sent)}`)
    return tokens ?? Buffer.from(sent as Uint8Array).toString('hex')
  })
  control.say({ type: 'close' })
  return answer
}

/** Calls are answered in order: whatever was asked of the engine before has been answered, too. */
async function idle(stage: Stage): Promise<void> {
  await stage.engine.memory()
}

/** Runs `attack`; engine, places and answers are afterwards what they were before. */
async function expectUnharmed(stage: Stage, attack: () => Promise<void>): Promise<void> {
  const { process } = stage.engine.description
  const before = await honestAnswer(stage)
  await attack()
  await eventually(() => expect(stage.free).toEqual(FREE))
  expect(await honestAnswer(stage)).toEqual(before)
  await eventually(() => expect(stage.free).toEqual(FREE))
  expect(stage.engine.description.process).toBe(process)
}

const oddNumber = fc.oneof(
  fc.constantFrom(
    Number.NaN,
    Number.POSITIVE_INFINITY,
    Number.NEGATIVE_INFINITY,
    3.4e38,
    -3.4e38,
    1e-45,
    1e30
  ),
  fc.float()
)
const someInteger = fc.oneof(
  fc.nat(4),
  fc.nat(RESERVE + 8),
  fc.constantFrom(2 ** 31 - 2, 2 ** 32 - 1, 512, 513)
)

/** One frame as only a decoder's limits bound it: up to 512 rows, any ids that are not negative, any floats. */
const oddFrame = fc.record({
  epoch: fc.oneof(fc.nat(3), fc.constantFrom(1_000, 2 ** 32 - 1)),
  position: someInteger,
  rows: fc.oneof(fc.integer({ min: 1, max: 6 }), fc.constantFrom(64, 65, 512)),
  token: fc.oneof(fc.nat(1023), fc.constantFrom(1024, 2 ** 31 - 1)),
  sample: fc.constantFrom('none', 'last', 'all'),
  isRaw: fc.boolean(),
  fill: fc.option(oddNumber)
})

describe('frames', () => {
  test.each([
    ['first', 900],
    ['middle', 1_200],
    ['tail', 1_200]
  ] as const)('%s stage', async (name, runs) => {
    const stage = stages[name]
    let pushed = 0
    await expectUnharmed(stage, () =>
      fc.assert(
        fc.asyncProperty(
          fc.nat(LONGEST_PREFIX),
          fc.constantFrom(...ROW_CODECS),
          fc.array(oddFrame, { minLength: 1, maxLength: 5 }),
          async (prefix, spoken, odd) => {
            const { control, data } = openOn(stage, { profile: { ...stage.info.profile, codec: spoken } })
            if (prefix > 0) data.push(frame(stage, 0, prefix, {}, spoken))
            for (const { rows, token, isRaw, fill, ...fields } of odd) {
              const changes: Partial<Frame> = { ...fields, tokens: new Int32Array(rows).fill(token) }
              // Mostly in the codec that the stage takes, so that the numbers come through to the engine.
              const isIds = stage.info.embedding !== (isRaw && prefix === 0)
              const codec = isIds ? 'none' : spoken
              const bytes = rows * bytesPerRow(codec, WIDTH)
              const floats = new Float32Array(Math.ceil(bytes / 4)).fill(fill ?? 0.5)
              const payload = new Uint8Array(floats.buffer, 0, bytes)
              data.push(frame(stage, 0, 1, { ...changes, codec, payload }))
              pushed += 1
            }
            await idle(stage)
            control.end()
            await idle(stage)
            expect(stage.free).toEqual(FREE)
          }
        ),
        { seed: SEED, numRuns: runs }
      )
    )
    expect(pushed).toBeGreaterThan(runs * 2)
  })
})

const setting = fc.oneof(
  fc.double(),
  fc.integer(),
  fc.constantFrom(0, -1, 1, 1e-9, 1e9, Number.NaN, 2 ** 31 - 1)
)
const grammar = fc.oneof(
  fc.string({ maxLength: 40 }),
  fc.string({ unit: 'binary', maxLength: 20 }),
  fc.constantFrom(
    'root ::= root',
    'root ::= "a"',
    'root ::= ""',
    'root ::= (',
    'root ::= a',
    'root ::= [^\\x00]*',
    `root ::= ${'('.repeat(999)}`
  ),
  fc
    .array(fc.constantFrom('root', '::=', '"a"', '(', ')', '|', '*', '[a-z]', '\n', '{9999999}', 'b'), {
      maxLength: 12
    })
    .map((words) => words.join(' '))
)

/** One or two of them odd, so that not all are refused for another's sake. */
const sampler = fc
  .tuple(
    fc.record({
      ...{ temperature: setting, topK: setting, topP: setting, minP: setting, penaltyLastN: setting },
      ...{ repeatPenalty: setting, frequencyPenalty: setting, presencePenalty: setting, seed: setting },
      logitBias: fc.array(fc.record({ token: fc.nat(1_100), bias: setting }), { maxLength: 3 }),
      grammar,
      generatedFrom: fc.oneof(fc.nat(8), fc.nat()),
      dry: fc.record({
        ...{
          multiplier: fc.constantFrom(0, 1),
          base: setting,
          allowedLength: fc.nat(3),
          penaltyLastN: setting
        },
        breakers: fc.array(fc.string({ maxLength: 4 }), { maxLength: 3 })
      })
    }),
    fc.array(fc.nat(12), { minLength: 1, maxLength: 2 })
  )
  .map(([all, chosen]) => {
    const entries = Object.entries(all)
    return Object.fromEntries(
      chosen.map((index) => entries[index] as [string, unknown])
    ) as Partial<SamplerOptions>
  })

test('Opens with any settings', async () => {
  const stage = stages.tail
  let opened = 0
  await expectUnharmed(stage, () =>
    fc.assert(
      fc.asyncProperty(sampler, async (odd) => {
        const base = { temperature: 0.7, repeatPenalty: 1.1, penaltyLastN: 8, generatedFrom: 3 }
        const { control, data } = openOn(stage, { sampler: defaultSampler({ ...base, ...odd }) })
        data.push(frame(stage, 0, 3))
        await idle(stage) // the settings were taken or not
        await idle(stage) // the rows were run
        expect(control.sent.map(({ type }) => type)).toContainEqual(expect.stringMatching('tokens|refused'))
        opened += control.sent[0]?.type === 'opened' ? 1 : 0
        control.end()
        await idle(stage)
        expect(stage.free).toEqual(FREE)
      }),
      { seed: SEED, numRuns: 2_000 }
    )
  )
  expect(opened).toBeGreaterThan(500)
})

const position = fc.oneof(fc.nat(12), fc.nat(RESERVE + 8), fc.constantFrom(CONTEXT, 2 ** 31 - 1))
/** Of the session itself, of another one, or of nobody. */
const whose = fc.constantFrom('own', 'other', 'none')

type Act =
  | { do: 'frame'; epoch: number; position: number; rows: number; sample: SampleMode }
  | { do: 'data' | 'rewire' | 'resume'; whose: string; drawFrom: number; length: number; epoch: number }
  | { do: 'extend'; reserve: number }
  | { do: 'resample'; settings: Partial<SamplerOptions> }
  | { do: 'lose' | 'breakNext' | 'close' | 'open' | 'ping' | 'opened' }

const act: fc.Arbitrary<Act> = fc.oneof(
  {
    weight: 4,
    arbitrary: fc.record({
      do: fc.constant('frame' as const),
      epoch: fc.nat(3),
      position: fc.oneof(fc.constant(-1), fc.nat(12)), // -1: what follows
      rows: fc.integer({ min: 1, max: 6 }),
      sample: fc.constantFrom<SampleMode>('none', 'last', 'all')
    })
  },
  {
    weight: 6,
    arbitrary: fc.record({
      do: fc.constantFrom('data' as const, 'rewire' as const, 'resume' as const),
      ...{ whose, drawFrom: position, length: position, epoch: fc.nat(3) }
    })
  },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('extend' as const), reserve: position }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('resample' as const), settings: sampler }) },
  {
    weight: 3,
    arbitrary: fc.record({
      do: fc.constantFrom(
        'lose' as const,
        'breakNext' as const,
        'close' as const,
        'open' as const,
        'ping' as const,
        'opened' as const
      )
    })
  }
)

describe('messages in any order, of a session that may be lost, moved or taken back', () => {
  test.each([
    ['first', 500],
    ['middle', 500],
    ['tail', 500]
  ] as const)('%s stage', async (name, runs) => {
    const stage = stages[name]
    const seen = new Map<string, number>()
    const attack = fc.asyncProperty(
      fc.array(fc.array(act, { maxLength: 4 }), { maxLength: 6 }),
      async (pieces) => {
        const { server, message, ...own } = openOn(stage)
        const controls = [own.control]
        const receivers = [own.data]
        const nexts = [own.next]
        let [end, epoch] = [0, 0]
        // Somebody else's session at the same server, whose ticket and id are known to the attacker.
        const other = { ...message, session: randomBytes(16), ticketIn: randomBytes(16) }
        const [victim, stranger] = [new FakeControl('victim'), new FakeReceiver()]
        server.control(victim)
        victim.say(other)
        void server.data(other.ticketIn, stranger)
        const belonging = (to: string, mine: Uint8Array, theirs: Uint8Array): Uint8Array =>
          to === 'own' ? mine : to === 'other' ? theirs : randomBytes(16)
        const perform = (what: Act): ControlMessage | undefined => {
          switch (what.do) {
            case 'frame': {
              const at = what.position < 0 ? end : what.position
              const { rows, sample } = what
              receivers.at(-1)?.push(frame(stage, at, rows, { epoch: Math.max(epoch, what.epoch), sample }))
              end = at + what.rows
              epoch = Math.max(epoch, what.epoch)
              return undefined
            }
            case 'data': {
              const receiver = new FakeReceiver()
              receivers.push(receiver)
              if (what.whose === 'own') void server.data(message.ticketIn, receiver).catch(() => {})
              return undefined
            }
            case 'rewire': {
              nexts.at(-1)?.abort(new Error('reset'))
              const ticketIn =
                what.drawFrom % 2 === 0 ? belonging(what.whose, message.ticketIn, other.ticketIn) : undefined
              const next = { peer: 'c', addresses: [], ticket: randomBytes(16) }
              return {
                type: 'rewire',
                drawFrom: what.drawFrom,
                next,
                ...(ticketIn === undefined ? {} : { ticketIn })
              }
            }
            case 'resume': {
              const control = new FakeControl()
              controls.push(control)
              server.control(control)
              const session = belonging(what.whose, message.session, other.session)
              control.say({ type: 'resume', session, drawFrom: what.drawFrom })
              return undefined
            }
            case 'extend':
              return { type: 'extend', reserve: what.reserve }
            case 'resample':
              return { type: 'resample', sampler: defaultSampler(what.settings) }
            case 'lose':
              controls.at(-1)?.end(new Error('lost'))
              return undefined
            case 'breakNext':
              nexts.at(-1)?.abort(new Error('reset'))
              return undefined
            case 'close':
              return { type: 'close' }
            case 'ping':
              return { type: 'ping', nonce: 1 }
            case 'open':
              return message
            default:
              return { type: 'opened', maxRows: 1, capacity: 1 }
          }
        }
        try {
          for (const piece of pieces) {
            const messages = piece.flatMap((what) => perform(what) ?? [])
            controls.at(-1)?.say(...messages)
            await idle(stage)
          }
          for (const { sent } of controls)
            for (const { type } of sent) seen.set(type, (seen.get(type) ?? 0) + 1)
          // The other session has heard and lost nothing.
          stranger.push(frame(stage, 0, 2))
          await eventually(() => {
            victim.say({ type: 'ping', nonce: 2 })
            const standing = { type: 'pong', epoch: 0, length: 2, computed: 2 }
            expect(victim.sent.findLast(({ type }) => type !== 'timing')).toMatchObject(standing)
          })
          expect(victim.sent.map(({ type }) => type)).not.toContain('refused')
          victim.end()
        } finally {
          await server.stop()
        }
        await idle(stage)
        expect(stage.free).toEqual(FREE)
      }
    )
    await expectUnharmed(stage, () => fc.assert(attack, { seed: SEED, numRuns: runs }))
    const heard = [
      'opened',
      'pong',
      'refused',
      'extended',
      ...(stage.info.head ? ['tokens'] : ['linked', 'unlinked'])
    ]
    for (const type of heard) expect([type, (seen.get(type) ?? 0) > 20]).toEqual([type, true])
  })
})

test('Opens for any span, reservation and hop', async () => {
  const odd = fc.record(
    {
      ...{ start: fc.nat(9), end: fc.nat(9), head: fc.boolean(), reserve: fc.oneof(fc.nat(2_000), fc.nat()) },
      model: fc.constantFrom('f'.repeat(64), ''),
      next: fc.constantFrom(undefined, { peer: 'x', addresses: [], ticket: new Uint8Array(16) }),
      sampler: fc.constantFrom(undefined, defaultSampler())
    },
    { requiredKeys: [] }
  )
  for (const stage of [stages.middle, stages.tail]) {
    await expectUnharmed(stage, () =>
      fc.assert(
        fc.asyncProperty(odd, async (changes) => {
          const { control } = openOn(stage, changes as Partial<Open>)
          await idle(stage)
          expect(control.sent).not.toEqual([])
          control.end()
          await idle(stage)
          expect(stage.free).toEqual(FREE)
        }),
        { seed: SEED, numRuns: 500 }
      )
    )
  }
})

describe('bytes', () => {
  let hostile: Libp2p
  let peer: HandPeer
  const unhandled: unknown[] = []
  const onUnhandled = (reason: unknown): number => unhandled.push(reason)

  beforeAll(async () => {
    process.on('unhandledRejection', onUnhandled)
    hostile = await startLibp2p(loadIdentity({ ephemeral: true }), [], () => true)
    peer = new HandPeer()
    await peer.start()
  })

  afterAll(async () => {
    await Promise.all([hostile?.stop(), peer?.stop()])
    process.off('unhandledRejection', onUnhandled)
    expect(unhandled).toEqual([])
  })

  function dial(node: Node, protocol: string): Promise<Stream> {
    return hostile.dialProtocol(multiaddr(node.host.addresses[0] as string), protocol)
  }

  const chunk = fc.uint8Array({ minLength: 1, maxLength: 600 })
  /** A frame's header with some of its fields as they should be, and whatever follows. */
  const almostFrame = fc
    .tuple(
      fc.nat(3),
      fc.nat(5),
      fc.nat(3),
      fc.oneof(fc.nat(80), fc.nat()),
      fc.oneof(fc.nat(4), fc.nat()),
      chunk
    )
    .map(([version, codec, sample, position, rows, rest]) => {
      const head = new DataView(new ArrayBuffer(20))
      head.setUint32(0, 16 + rows * (4 + bytesPerRow(ROW_CODECS[codec - 1] ?? 'none', WIDTH)), true)
      for (const [index, value] of [version, codec, sample].entries()) head.setUint8(4 + index, value)
      for (const [index, value] of [0, position, rows].entries()) head.setUint32(8 + 4 * index, value, true)
      return Buffer.concat([new Uint8Array(head.buffer), rest])
    })

  test('on data streams that were accepted', async () => {
    const node = nodeAt(6)
    await expectUnharmed(stages.tail, () =>
      fc.assert(
        fc.asyncProperty(fc.oneof(chunk, almostFrame), async (bytes) => {
          const message = peer.openMessage(node)
          const { control } = await peer.say(node, message)
          const stream = await dial(node, '/shoal/data/1')
          const accepted = new Promise((resolve) =>
            stream.addEventListener('message', resolve, { once: true })
          )
          stream.send(Buffer.concat([Uint8Array.of(1), message.ticketIn]))
          await accepted
          stream.send(bytes)
          await stream.close().catch(() => {})
          await control.close()
        }),
        { seed: SEED, numRuns: 250 }
      )
    )
  })

  test('on control streams', async () => {
    const node = nodeAt(3)
    await expectUnharmed(stages.middle, () =>
      fc.assert(
        fc.asyncProperty(
          fc.array(chunk, { minLength: 1, maxLength: 3 }),
          fc.boolean(),
          async (chunks, isFramed) => {
            const stream = await dial(node, '/shoal/session/1')
            const ended = new Promise((resolve) => stream.addEventListener('close', resolve, { once: true }))
            for (const bytes of chunks) {
              if (stream.status !== 'open') break
              const length = new Uint8Array(Uint32Array.of(bytes.length).buffer)
              stream.send(isFramed ? Buffer.concat([length, bytes]) : bytes)
            }
            await stream.close().catch(() => {})
            await ended
          }
        ),
        { seed: SEED, numRuns: 250 }
      )
    )
  })
})
