import type { GossipSub, TopicValidatorFn } from '@libp2p/gossipsub'
import { expect, test } from 'vitest'
import { Gossip } from './gossip.ts'
import type { Judge } from './types.ts'
import { MAX_GOSSIP_BYTES } from './wire/limits.ts'

const SILENT = { debug() {}, info() {}, warn() {}, error() {} }

/** What gossipsub would ask about a message from a neighbour. */
function validator(judge: Judge, clock = { ms: 0 }): (from: string, data?: Uint8Array) => unknown {
  const topicValidators = new Map<string, TopicValidatorFn>()
  const pubsub = { topicValidators, score: { params: { topics: {} } }, subscribe: () => {} }
  const gossip = new Gossip({ now: () => clock.ms, wall: () => 0, after: () => () => {} }, SILENT)
  gossip.subscribe('topic', judge)
  gossip.start(pubsub as unknown as GossipSub)
  return (from, data = new Uint8Array(1)) =>
    topicValidators.get('topic')!(from as unknown as Parameters<TopicValidatorFn>[0], {
      type: 'unsigned',
      topic: 'topic',
      data
    })
}

test('a judge that fails is not held against who sent the message', async () => {
  const judge = () => {
    throw new Error('a bug')
  }
  expect(await validator(judge)('a')).toBe('ignore')
})

test('a message above its bound is rejected, unread', async () => {
  let judged = 0
  const ask = validator(() => {
    judged++
    return 'accept'
  })
  expect(await ask('a', new Uint8Array(MAX_GOSSIP_BYTES))).toBe('accept')
  expect(await ask('a', new Uint8Array(MAX_GOSSIP_BYTES + 1))).toBe('reject')
  expect(judged).toBe(1)
})

test('one neighbour cannot keep a node busy with judging', async () => {
  const clock = { ms: 0 }
  let judged = 0
  const ask = validator(() => {
    judged++
    return 'ignore'
  }, clock)
  for (let i = 0; i < 3_000; i++) await ask('a')
  expect(judged).toBe(2_048)
  await ask('b')
  expect(judged).toBe(2_049)
  clock.ms = 1_000
  for (let i = 0; i < 3_000; i++) await ask('a')
  expect(judged).toBe(2_049 + 256)
})
