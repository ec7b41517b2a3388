/** What this machine and the swarm are worth to who asks: own speed, links, and an answer against what was predicted of it. */
import { fileURLToPath } from 'node:url'
import { ShoalError } from '../common/index.ts'
import { LlamaEngine } from '../engine/index.ts'
import { resolveName } from '../models/index.ts'
import type { RowCodec } from '../net/index.ts'
import { defaultSampler } from '../session/index.ts'
import { type ChainHop, NoChainError } from '../swarm/index.ts'
import { type AnswerInit, predictedTokenMs, type TimedAnswer, timeAnswer } from './bench-answer.ts'
import { type Link, measureLink } from './bench-links.ts'
import type { LibraryInit } from './library.ts'
import type { NamedModel } from './model-finder.ts'
import { Node } from './node.ts'
import type { NodeSettings } from './settings.ts'

export type { TimedAnswer } from './bench-answer.ts'
export type { Link } from './bench-links.ts'

/** How fast this machine computes, with nobody else asking. */
export interface OwnSpeed {
  /** The one that was asked about where all of it is here and fits, else the embedded one. */
  readonly model: string
  readonly blocks: number
  readonly tokensPerSecond: number
  readonly promptTokensPerSecond: number
  /** That the engine takes in one batch at most. */
  readonly rows: number
}

export interface BenchReport {
  readonly model: NamedModel
  /** Undefined: it could not be loaded in time. */
  readonly own: OwnSpeed | undefined
  /** Hops of the chain first. */
  readonly links: readonly Link[]
  /** What hidden states travelled in. */
  readonly codec: RowCodec
  /** Nobody else hosts the model: the answer is this machine's own. */
  readonly isAlone: boolean
  readonly predictedTokenMs: number
  /** Without guesses. */
  readonly answer: TimedAnswer
  /** The same with them; undefined where nothing is to be guessed. */
  readonly guessed: TimedAnswer | undefined
  /** Half the round trip from the last hop, in milliseconds. */
  readonly returnMs: number
  /** What a token takes beyond all of its parts: waiting, processes, packing, and what medians leave out. */
  readonly restMs: number
}

export interface BenchInit {
  /** As people name it. */
  readonly model: string
  readonly tokens: number
  /** Longest wait for a chain. */
  readonly waitMs: number
  readonly dataDir: string
  readonly library: Partial<LibraryInit>
  readonly speculation?: NodeSettings['speculation']
  readonly codec?: NodeSettings['codec']
  /** What is being done now. */
  readonly onStep?: (what: string) => void
  readonly signal: AbortSignal
}

/** Where a node is reached. */
type Place = Pick<ChainHop, 'peer' | 'addresses'>

const DEMO = fileURLToPath(new URL('../../models/demo.gguf', import.meta.url))
/** Text goes on from it, and stages have enough rows to compute it in one frame. */
const PROMPT = 'Once upon a time, there was a little fish who lived in the deep blue sea. Every day'
/** To load what is here: a bench is to be over within a minute or two. */
const LOAD_MS = 60_000
/** Room for the prompt, and for what a machine's speed is measured with. */
const CONTEXT = 512
/** People go on using their machine. */
const MEMORY_SHARE = 0.5
/** Peers whose links are measured, hops of the chain included. */
const MOST_LINKS = 16

/**
 * `node` asks, and is not started yet; whoever made it stops it. Throws what finding the model throws, NO_PEERS or a
 * NoChainError where nobody hosts it and not all of it is here, a SessionError, or the signal's reason.
 */
export async function benchmark(node: Node, init: BenchInit): Promise<BenchReport> {
  const { model: name, tokens, onStep, signal, dataDir, library, speculation = {}, codec } = init
  if (resolveName(name).kind === 'id') await node.start({ signal })
  const model = await node.library.find(name, { signal })
  await node.start({ signal })
  onStep?.(`looking for ${name}`)
  const found = await routed(node, model, init).catch((error: unknown) => {
    const isNobody = error instanceof NoChainError || (error as ShoalError).code === 'NO_PEERS'
    if (isNobody) return error as ShoalError
    throw error
  })
  onStep?.('measuring this machine')
  const isHere = await fitsHere(node, model)
  const alone = new Node({
    ...{ dataDir, listen: [], peers: [], ephemeral: true, offline: true, library, speculation, codec },
    hosting: {
      model: isHere ? (model.files?.[0] ?? name) : DEMO,
      ...{ context: CONTEXT + tokens, sessions: 1, kvType: 'f16' }
    }
  })
  try {
    const own = await speedOf(alone, signal)
    if (!(found instanceof ShoalError)) {
      await alone.stop() // it would compute, and hold its memory, beside the nodes that are measured
      return await measured(node, model, found, init, own)
    }
    if (!isHere || own === undefined) throw found
    return await measured(alone, model, await routed(alone, model, init), init, own)
  } finally {
    await alone.stop()
  }
}

async function routed(
  node: Node,
  { id: model }: NamedModel,
  { tokens, waitMs, signal }: BenchInit
): Promise<readonly ChainHop[]> {
  const { chain } = await node.route({
    ...{ model, promptTokens: PROMPT.length, answerTokens: tokens, waitMs, signal }
  })
  return chain
}

/** All of it is on this machine, and may be loaded for a while. */
async function fitsHere({ library }: Node, { id, files, manifest }: NamedModel): Promise<boolean> {
  if (manifest.byteLength > MEMORY_SHARE * process.availableMemory()) return false
  if (files !== undefined) return true
  const stored = await (await library.store).get(id).catch(() => undefined)
  return stored !== undefined && stored.missing(new Set(manifest.items.map(({ part }) => part))).length === 0
}

/** By loading what the node is to host, as any node does. Undefined where it takes too long. */
async function speedOf(node: Node, signal: AbortSignal): Promise<OwnSpeed | undefined> {
  const late = AbortSignal.timeout(LOAD_MS)
  try {
    await node.start({ signal: AbortSignal.any([signal, late]) })
  } catch (error) {
    if (signal.aborted || !late.aborted) throw error
    return undefined
  }
  const { stage } = node
  if (stage?.speed === undefined) return undefined
  const { decodeMicroseconds, prefillMicroseconds } = stage.speed
  return {
    ...{ model: stage.info.name, blocks: stage.info.blockCount },
    ...{ tokensPerSecond: 1e6 / decodeMicroseconds, promptTokensPerSecond: 1e6 / prefillMicroseconds },
    rows: stage.engine.description.maxRows
  }
}

async function measured(
  node: Node,
  model: NamedModel,
  chain: readonly ChainHop[],
  init: BenchInit,
  own: OwnSpeed | undefined
): Promise<BenchReport> {
  const { onStep, signal, tokens } = init
  onStep?.('measuring links')
  const places = peersOf(node, model.id, chain)
  const links: Link[] = []
  // One after the other: they would share this machine's line.
  for (const place of places) links.push(await measureLink(node, place, model, signal))
  const { peerId } = node.host
  const roundTripMs = roundTripsBy(node, links)
  const prompt = await tokenized(node, model, signal)
  const codec = await node.codecs.codecFor(chain)
  const answering = { chain, codec, prompt, tokens, roundTripMs, signal }
  const predicted = await predictedTokenMs(node, answering)
  onStep?.('answering')
  const answer = await timeAnswer(node, answering)
  onStep?.('answering, with guesses')
  const guessed = await timeGuessed(node, model, answering)
  const returnMs = roundTripMs(answer.hops.at(-1)?.peer ?? peerId, peerId) / 2
  const parts = answer.hops.map(({ queueMs, computeMs, wireMs }) => queueMs + computeMs + wireMs)
  const restMs = answer.tokenMs - returnMs - parts.reduce((sum, ms) => sum + ms, 0)
  const isAlone = chain.every(({ peer }) => peer === peerId)
  const timings = { predictedTokenMs: predicted, answer, guessed, returnMs, restMs }
  return { model, own, links, codec, isAlone, ...timings }
}

/** Twice, as a draft model is loaded while the first answer is given. */
async function timeGuessed(
  node: Node,
  { id }: NamedModel,
  init: AnswerInit
): Promise<TimedAnswer | undefined> {
  let answer: TimedAnswer | undefined
  for (let time = 0; time < 2; time++) {
    const drafter = node.drafts.drafterFor(id, defaultSampler())
    answer = drafter && (await timeAnswer(node, { ...init, drafter }))
  }
  return answer
}

/** The chain's, then others that host the model, then whoever is connected. */
function peersOf({ host, swarm }: Node, model: string, chain: readonly ChainHop[]): Place[] {
  const connected = host.peers.map((peer) => ({ peer, addresses: host.addressesOf(peer) }))
  const all = [...chain, ...swarm.stagesOf(model), ...connected].filter(({ peer }) => peer !== host.peerId)
  const first = all.filter(({ peer }, index) => all.findIndex((other) => other.peer === peer) === index)
  return first.slice(0, MOST_LINKS)
}

/**
 * From here as measured; between others as their coordinates have it, and no longer than the way through here, since
 * of who has just come nobody knows where they are.
 */
function roundTripsBy(node: Node, links: readonly Link[]): (from: string, to: string) => number {
  const own = new Map(links.map(({ peer, roundTripMs }) => [peer, roundTripMs]))
  const { peerId } = node.host
  const fromHere = (peer: string): number => own.get(peer) ?? node.rttBetween(peerId, peer)
  return (from, to) => {
    if (from === to) return 0
    if (from === peerId) return fromHere(to)
    if (to === peerId) return fromHere(from)
    return Math.min(node.rttBetween(from, to), fromHere(from) + fromHere(to))
  }
}

async function tokenized(node: Node, model: NamedModel, signal: AbortSignal): Promise<Int32Array> {
  const { files } = await node.library.vocabulary(model, { signal })
  const engine = new LlamaEngine({
    ...{ files, vocabularyOnly: true, gpuLayers: 0 },
    ...{ context: 0, sequences: 0, threads: 1 }
  })
  try {
    await engine.start({ signal })
    return await engine.tokenize(PROMPT, { addSpecial: true })
  } finally {
    await engine.stop()
  }
}
