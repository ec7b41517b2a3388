// Gossip: gossipsub as Shoal uses it. Messages are signed inside, by their authors, so gossipsub signs nothing.
import { createHash } from 'node:crypto'
import {
  type GossipSub,
  type GossipSubComponents,
  gossipsub,
  type TopicValidatorFn,
  TopicValidatorResult
} from '@libp2p/gossipsub'
import { createTopicScoreParams, type PeerScoreParams } from '@libp2p/gossipsub/score'
import type { Stream } from '@libp2p/interface'
import { type Clock, Limits } from '../common/index.ts'
import { isLocal } from './dial-gate.ts'
import type { HostLogger, Judge, Verdict } from './types.ts'
import { MAX_GOSSIP_BYTES } from './wire/limits.ts'

/** One RPC may carry many messages, and the ids of more. The stream is lost beyond it. */
const MAX_RPC_BYTES = 64 * MAX_GOSSIP_BYTES
/** Nodes behind one router are no attack, as many as the gate lets in from one subnet. */
const PEERS_PER_IP = 32
/** What a peer's score is remembered for after it left, so that coming back does not clear it. */
const RETAIN_SCORE_MS = 10 * 60_000

/**
 * New messages by way of one neighbour: fifty topics as busy as they get. Judging one takes some 0.2 ms (a signature).
 */
const ARRIVALS = { burst: 2_048, everyMs: 1000 / 256 }

/**
 * Invalid messages count by their square. One is an accident (-20); after three nothing is passed on to the peer;
 * after four it is not listened to. Half forgotten after some two minutes, so that a mended node is welcome again.
 * Being silent is no fault: a topic has a message now and then. Time spent in good standing buys little.
 */
const TOPIC_SCORE = createTopicScoreParams({
  topicWeight: 1,
  timeInMeshWeight: 0.01,
  timeInMeshQuantum: 1_000,
  timeInMeshCap: 1_000,
  firstMessageDeliveriesWeight: 0,
  meshMessageDeliveriesWeight: 0,
  meshFailurePenaltyWeight: 0,
  invalidMessageDeliveriesWeight: -20,
  invalidMessageDeliveriesDecay: 0.995 // per second
})
const SCORE_THRESHOLDS = {
  gossipThreshold: -100,
  publishThreshold: -150,
  graylistThreshold: -300,
  acceptPXThreshold: 1_000,
  opportunisticGraftThreshold: 1
}

const RESULTS: Readonly<Record<Verdict, TopicValidatorResult>> = {
  accept: TopicValidatorResult.Accept,
  ignore: TopicValidatorResult.Ignore,
  reject: TopicValidatorResult.Reject
}

/** Home networks and test swarms have many nodes on one address. */
class LocalAddresses extends Set<string> {
  override has(ip: string): boolean {
    return isLocal(ip)
  }
}

/** Topics that nobody here follows are not passed on, and not kept. */
class Validators extends Map<string, TopicValidatorFn> {
  override get(topic: string): TopicValidatorFn {
    return super.get(topic) ?? (() => TopicValidatorResult.Ignore)
  }
}

/** Smaller than gossipsub's own: each neighbour more is a copy more of everything, and messages are all small. */
const MESH = { D: 4, Dlo: 3, Dhi: 8, Dscore: 3, Dout: 1 }

/** The service. */
export function gossip(): (components: GossipSubComponents) => GossipSub {
  return (components) => {
    const pubsub = gossipsub({
      globalSignaturePolicy: 'StrictNoSign',
      // With the topic: an author says the same on the topic of each of its models.
      msgIdFn: ({ topic, data }) => createHash('sha256').update(topic).update('\0').update(data).digest(),
      ignoreDuplicatePublishError: true,
      allowPublishToZeroTopicPeers: true,
      floodPublish: true,
      ...MESH,
      fallbackToFloodsub: false,
      runOnLimitedConnection: true, // a relayed connection may be all that a node has
      maxInboundDataLength: MAX_RPC_BYTES,
      maxOutboundBufferSize: 4 * MAX_RPC_BYTES,
      scoreParams: {
        IPColocationFactorThreshold: PEERS_PER_IP,
        IPColocationFactorWhitelist: new LocalAddresses(),
        retainScore: RETAIN_SCORE_MS
      },
      scoreThresholds: SCORE_THRESHOLDS
    })(components)
    pubsub.topicValidators = new Validators()
    return pubsub
  }
}

/** The parts of gossipsub 17 that its interface leaves out; when an upgrade moves them, a test fails. */
interface Internals {
  score: { params: PeerScoreParams }
  streamsOutbound: Map<string, { rawStream: Stream }>
}

/** What this node follows, whether it runs or not. */
export class Gossip {
  readonly #logger: HostLogger
  readonly #arrivals: Limits
  readonly #judges = new Map<string, Judge>()
  #pubsub: GossipSub | undefined

  constructor(clock: Clock, logger: HostLogger) {
    this.#logger = logger
    this.#arrivals = new Limits(clock, ARRIVALS)
  }

  start(pubsub: GossipSub): void {
    this.#pubsub = pubsub
    for (const topic of this.#judges.keys()) this.#follow(topic)
  }

  stop(): void {
    this.#pubsub = undefined
  }

  /** A stream that ended while it was opened with a connection would be kept, and written to in vain. */
  dropEnded(peer: string): void {
    if (this.#pubsub === undefined) return
    const { streamsOutbound } = this.#pubsub as unknown as Internals
    if (streamsOutbound.get(peer)?.rawStream.writeStatus !== 'writable') streamsOutbound.delete(peer)
  }

  /** Own messages are not judged. */
  subscribe(topic: string, judge: Judge): () => void {
    if (this.#judges.has(topic)) throw new Error(`${topic} has a judge already`)
    this.#judges.set(topic, judge)
    this.#follow(topic)
    return () => {
      if (this.#judges.get(topic) !== judge) return
      this.#judges.delete(topic)
      this.#pubsub?.unsubscribe(topic)
      this.#pubsub?.topicValidators.delete(topic)
    }
  }

  #follow(topic: string): void {
    if (this.#pubsub === undefined) return
    ;(this.#pubsub as unknown as Internals).score.params.topics[topic] = TOPIC_SCORE
    this.#pubsub.topicValidators.set(topic, async (from, { data }) => {
      return RESULTS[await this.#judge(topic, data, from.toString())]
    })
    this.#pubsub.subscribe(topic)
  }

  async #judge(topic: string, message: Uint8Array, from: string): Promise<Verdict> {
    if (message.byteLength > MAX_GOSSIP_BYTES) return 'reject'
    if (!this.#arrivals.take(from)) return 'ignore'
    try {
      return (await this.#judges.get(topic)?.(message, from)) ?? 'ignore'
    } catch (error) {
      this.#logger.error(`judging a message on ${topic}: ${(error as Error).message}`)
      return 'ignore'
    }
  }
}
