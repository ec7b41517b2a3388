import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, test, vi } from 'vitest'
import type { JoinStep, ModelStatus, NodeStatus } from '../node/index.ts'
import { Instance } from '../node/instance.ts'
import { aboutSwarm } from './doctor.ts'
import { askStatus, modelInWords, statusInWords, stepInWords, swarmInWords } from './status.ts'

const MODEL: ModelStatus = {
  ...{ model: 'a'.repeat(64), name: 'M', blockCount: 8, covered: true, missing: [], nodes: 2, demand: 0 }
}
const STATUS: NodeStatus = {
  ...{
    peer: '12D3KooWabcdefgh',
    version: '1.2.3',
    addresses: [],
    uptimeSeconds: 65,
    swarm: { kind: 'local' }
  },
  ...{ join: [], peers: [], hosting: [], placement: '', models: [], sessions: 0 }
}

test.each<[string, Partial<ModelStatus>]>([
  ['M: covered, 8 blocks on 2 nodes', {}],
  ['M: covered, 8 blocks on 1 node, asked for 1 time per minute', { nodes: 1, demand: 1 }],
  ['M: covered, 8 blocks on 2 nodes, asked for 0.7 times per minute', { demand: 2 / 3 }],
  [
    'M: waiting for blocks 0-2, 5-8 of 8: nobody hosts them yet, asked for 12 times per minute',
    { covered: false, missing: [[0, 2], [5, 8]], demand: 12.4 } // biome-ignore format: pairs
  ]
])('%s', (words, changes) => {
  expect(modelInWords({ ...MODEL, ...changes })).toBe(words)
})

test.each<[string, JoinStep]>([
  [
    'given addresses: waiting for 2 nodes to answer',
    { name: 'given', state: 'waiting', detail: 'for 2 nodes to answer' }
  ],
  ['peers from last time: 1 of 3 answered', { name: 'remembered', state: 'done', detail: '1 of 3 answered' }],
  ['this machine: 0 nodes of yours', { name: 'neighbours', state: 'done', detail: '0 nodes of yours' }],
  ['local network: nobody', { name: 'mdns', state: 'failed', detail: 'nobody' }],
  ['newer: than this', { name: 'newer', state: 'done', detail: 'than this' }]
])('%s', (words, step) => {
  expect(stepInWords(step)).toBe(words)
})

test.each<[RegExp, NodeStatus['swarm']]>([
  [/^in the public swarm$/, { kind: 'public' }],
  [/^in the private swarm reef$/, { kind: 'private', name: 'reef' }],
  [/^on this machine only; "shoal join"/, { kind: 'local' }]
])('%s', (words, swarm) => {
  expect(swarmInWords({ ...STATUS, swarm })).toMatch(words)
})

test('a status, with what to do, and without what would move the cursor', () => {
  const failed: JoinStep = { name: 'mdns', state: 'failed', detail: 'nobody', advice: 'open the firewall' }
  const off: JoinStep = { name: 'kademlia', state: 'off', detail: 'only joined swarms have it' }
  const hosting = [{ model: MODEL.model, name: 'M\u001b[2J', start: 0, end: 4, blockCount: 8 }]
  const status = {
    ...STATUS,
    join: [failed, off],
    hosting,
    placement: 'hosting blocks',
    sessions: 1,
    drafts: ['d']
  }
  expect(statusInWords(status)).toEqual([
    'node abcdefgh, version 1.2.3, up for 65 s',
    'on this machine only; "shoal join" says how to join others',
    'hosts blocks 0-4 of 8, M?[2J',
    'now: hosting blocks',
    '0 peers, 1 session',
    'd writes ahead for others',
    'local network: nobody',
    '  -> open the firewall'
  ])
})

test.each<[string, Partial<NodeStatus>, [string, string, RegExp | undefined]]>([
  ['nobody, alone', {}, ['note', 'no peers', /"shoal join"/]],
  ['nobody, in public', { swarm: { kind: 'public' } }, ['note', 'no peers', /--peer.*netcheck/]],
  ['nobody, in private', { swarm: { kind: 'private', name: 'x' } }, ['note', 'no peers', /invited you/]],
  ['one peer', { peers: [{ peer: 'a', addresses: [] }] }, ['good', '1 peer', undefined]],
  [
    'a step that failed',
    { join: [{ name: 'given', state: 'failed', detail: 'none', advice: 'look' }] },
    ['note', 'given addresses: none', /look/]
  ],
  [
    'a model with gaps',
    { models: [{ ...MODEL, covered: false, missing: [[0, 8]] }] },
    ['note', 'M: waiting for blocks 0-8 of 8: nobody hosts them yet', /--memory/]
  ],
  ['what it does', { placement: 'loading' }, ['good', 'loading', undefined]]
])('doctor: %s', (_, changes, [state, what, advice]) => {
  const found = aboutSwarm({ ...STATUS, ...changes }).find((finding) => finding.what === what)
  expect(found?.state).toBe(state)
  if (advice === undefined) expect(found?.advice).toBeUndefined()
  else expect(found?.advice).toMatch(advice)
})

test('a node that says nothing is not waited for', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'shoal-status-'))
  const asked = Promise.withResolvers<void>()
  const node = new Instance(folder, { finish: () => {}, status: () => asked.resolve() })
  const late = new AbortController()
  vi.spyOn(AbortSignal, 'timeout').mockReturnValue(late.signal)
  try {
    await node.hold()
    const answer = askStatus(folder, new AbortController().signal)
    answer.catch(() => {})
    await asked.promise
    late.abort()
    await expect(answer).rejects.toMatchObject({ code: 'SILENT' })
  } finally {
    vi.restoreAllMocks()
    await node.release()
    await rm(folder, { recursive: true })
  }
})
