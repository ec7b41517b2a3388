import { expect, test } from 'vitest'
import { judgePeer, judgeReachability, type NetworkFacts, type Reachability } from './reachability.ts'

const LOOPBACK = '/ip4/127.0.0.1/tcp/4001'
const INNER = '/ip4/192.168.1.5/tcp/4001'
const OUTER = '/ip4/8.8.4.4/tcp/5123'
const RELAY = '/ip4/8.8.8.8/tcp/4001/p2p/12D3KooWGSmmKdFNPiGnY4DzfkTQy6LAZnB9FmGtcNXmtKeMqRvC'
const STATION = `${RELAY}/p2p-circuit`
const INTERFACES = ['127.0.0.1', '192.168.1.5']
const NEIGHBOUR = [['/ip4/192.168.1.6/tcp/4001']]
const FAR = [[RELAY]]

type Case = [
  what: string,
  facts: Partial<NetworkFacts>,
  status: Reachability['status'],
  why: RegExp,
  advice?: RegExp
]

const cases: Case[] = [
  [
    'has joined nothing',
    { joined: false, addresses: [LOOPBACK] },
    'local',
    /only uses loopback/,
    /shoal join/
  ],
  [
    'has joined nothing, and could be seen',
    { joined: false, addresses: [OUTER] },
    'local',
    /loopback/,
    /join/
  ],
  ['listens on loopback', { addresses: [LOOPBACK], peers: FAR }, 'local', /this machine only/, /--listen/],
  ['does not listen', { addresses: [], peers: FAR }, 'local', /this machine only/, /--listen/],
  [
    'was dialled through its router',
    { addresses: [LOOPBACK, INNER, OUTER] },
    'reachable',
    /router passes it on/
  ],
  [
    'was dialled at its own address',
    { addresses: [LOOPBACK, OUTER], interfaces: ['8.8.4.4'] },
    'reachable',
    /8\.8\.4\.4, port 5123, .* of this machine/
  ],
  ['was dialled, and has a relay, too', { addresses: [STATION, INNER, OUTER] }, 'reachable', /8\.8\.4\.4/],
  ['was dialled by name', { addresses: ['/dns4/node.example/tcp/4001'] }, 'reachable', /node\.example/],
  ['has a relay', { addresses: [INNER, STATION], peers: FAR }, 'relayed', /through a relay/, /TCP port 4001/],
  ['has a relay only', { addresses: [STATION], peers: FAR }, 'relayed', /through a relay/, /UPnP/],
  ['has a relay for WebRTC', { addresses: [`${STATION}/webrtc`] }, 'relayed', /through a relay/, /UPnP/],
  ['reached nobody', { addresses: [LOOPBACK, INNER] }, 'blocked', /No other node has answered/, /online/],
  [
    'knows neighbours only',
    { addresses: [INNER], peers: NEIGHBOUR },
    'reachable',
    /own network, at 192\.168\.1\.5/
  ],
  [
    'reached others, no relay',
    { addresses: [INNER], peers: [...NEIGHBOUR, ...FAR] },
    'blocked',
    /relay/,
    /UPnP/
  ],
  ['reached one through a relay', { addresses: [INNER], peers: [[STATION]] }, 'blocked', /no node/, /UPnP/],
  ['hears nonsense', { addresses: [INNER], peers: [['nonsense', '/ip9/x']] }, 'reachable', /own network/]
]

test.each(cases)('a node that %s', (_, facts, status, why, advice) => {
  const all: NetworkFacts = { joined: true, addresses: [], interfaces: INTERFACES, peers: [], ...facts }
  const judged = judgeReachability(all)
  expect(judged.status).toBe(status)
  expect(judged.why).toMatch(why)
  if (advice === undefined) expect(judged.advice).toBeUndefined()
  else expect(judged.advice).toMatch(advice)
})

test.each([
  [[LOOPBACK, INNER, OUTER, STATION], 'direct', undefined],
  [[LOOPBACK, INNER, STATION], 'relayed', /through a relay/],
  [[LOOPBACK, INNER], 'direct', /own network/],
  [[LOOPBACK], 'direct', /own machine/],
  [[], 'unknown', /no addresses/],
  [['nonsense'], 'unknown', /no addresses/]
])('a peer at %s', (addresses, status, why) => {
  const judged = judgePeer(addresses)
  expect(judged.status).toBe(status)
  if (why === undefined) expect(judged.why).toBeUndefined()
  else expect(judged.why).toMatch(why)
})
