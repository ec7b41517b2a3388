// Real engines whose hidden states travel in each codec: what is said, what it takes, and that it survives a loss.
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest'
import { Oracle } from '../../test/chaos/oracle.ts'
import { DEMO, TestSwarm } from '../../test/swarm.ts'
import { bytesPerRow, ROW_CODECS, type RowCodec } from '../net/index.ts'
import { Talk, type TalkInit } from './swarm-testing.ts'
import { FISH } from './testing.ts'

const TOKENS = 40
const SPANS = ['0-3', '3-6', '6-8']
/** Of a frame of one row, beside its payload. */
const FRAME_BYTES = 24

const oracle = new Oracle(DEMO, 1024)
let prompt: Int32Array
let swarm: TestSwarm
let talk: Talk

beforeAll(async () => {
  ;[swarm] = await Promise.all([TestSwarm.start([...SPANS, ...SPANS]), oracle.start()])
  prompt = await oracle.tokenize(FISH)
})

afterAll(async () => {
  await Promise.all([swarm?.stop(), oracle.stop()])
})

afterEach(async () => {
  await talk.session.close()
  await swarm.allFree()
})

async function judgedIn(
  codec: RowCodec,
  { trouble, ...init }: TalkInit & { trouble?: () => Promise<unknown> } = {}
): Promise<string> {
  talk = await Talk.open(swarm, { codec, ...init })
  const answer = await talk.answer(prompt, TOKENS, trouble)
  expect(answer).toHaveLength(TOKENS)
  const rows = prompt.length + TOKENS - 1
  expect(await talk.rows()).toEqual([rows, rows, rows]) // nobody computed any of them twice
  return (await oracle.judge(prompt, answer)).kind
}

test('f32 says what the whole model says', async () => {
  expect(await judgedIn('f32')).toBe('equal')
})

test.each(ROW_CODECS)(
  '%s says nothing that the model would not, in the bytes that it takes',
  async (codec) => {
    expect(await judgedIn(codec)).not.toBe('wrong')
    const rowBytes = bytesPerRow(codec, talk.chain[0]?.stage.width ?? 0) + FRAME_BYTES
    expect(talk.session.figures.map(({ bytesOut }) => bytesOut)).toEqual([rowBytes, rowBytes, 4])
  }
)

test.each([
  ['the first', 0],
  ['the middle', 1],
  ['the last', 2]
])('%s hop is lost in q8: what was sent is sent again', async (_, hop) => {
  await swarm.shape([...SPANS, ...SPANS])
  expect(await judgedIn('q8', { trouble: () => swarm.lose(swarm.at(talk.chain[hop])) })).not.toBe('wrong')
  expect(talk.count('repaired')).toBe(1)
})

test('the own node is a hop in q8, and needs no connection to itself', async () => {
  const chain = await swarm.chain()
  expect(await judgedIn('q8', { chain, consumer: swarm.at(chain[1]) })).not.toBe('wrong')
})
