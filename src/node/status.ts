/** What a running node says of itself to other commands on its machine. */
import { z } from 'zod'

const joinStep = z.object({
  /** given, remembered, neighbours, mdns, kademlia. */
  name: z.string(),
  state: z.enum(['off', 'waiting', 'done', 'failed']),
  /** What it found, or waits for, in plain words. */
  detail: z.string(),
  /** What to do, where something can be done. */
  advice: z.string().optional()
})

const hosted = z.object({
  model: z.string(),
  name: z.string(),
  start: z.int(),
  end: z.int(),
  blockCount: z.int()
})

const modelStatus = z.object({
  model: z.string(),
  name: z.string(),
  blockCount: z.int(),
  /** A chain exists. */
  covered: z.boolean(),
  /** Blocks that nobody hosts, as [start, end). */
  missing: z.array(z.tuple([z.int(), z.int()])),
  /** Nodes that host some of it. */
  nodes: z.int(),
  /** Sessions opened per minute. */
  demand: z.number()
})

export const nodeStatus = z.object({
  peer: z.string(),
  version: z.string(),
  addresses: z.array(z.string()),
  uptimeSeconds: z.number(),
  swarm: z.object({ kind: z.enum(['local', 'public', 'private']), name: z.string().optional() }),
  join: z.array(joinStep),
  peers: z.array(
    z.object({ peer: z.string(), addresses: z.array(z.string()), rttMs: z.number().optional() })
  ),
  hosting: z.array(hosted),
  /** Why it hosts that, or what it waits for, in plain words. */
  placement: z.string(),
  models: z.array(modelStatus),
  sessions: z.int(),
  /** Models that write ahead for others now. */
  drafts: z.array(z.string()).optional(),
  /** Resident, of the node and its engine. */
  memoryBytes: z.number().optional()
})

export type JoinStep = z.infer<typeof joinStep>
export type ModelStatus = z.infer<typeof modelStatus>
export type NodeStatus = z.infer<typeof nodeStatus>
