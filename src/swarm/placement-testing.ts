/** Models without weights and nodes without machines, for the tests of placement. */
import type { Profile } from '../net/index.ts'
import type { HostedStage } from './discover.ts'
import { decide, type Move, type PlacementInput } from './placement.ts'
import type { Offer } from './placement-offer.ts'
import { type HostableModel, roomOf, type Span } from './placement-sizes.ts'

export const MIB = 1024 * 1024

const PROFILE: Profile = {
  ...{ kvTypeK: 'f16', kvTypeV: 'f16', flashAttention: true, codec: 'f32', longContext: false }
}

/** Blocks of one MiB each, unless said otherwise, and nothing beside them. */
export function testModel(
  name: string,
  blockCount: number,
  changes: Partial<HostableModel> = {}
): HostableModel {
  return {
    ...{ model: Buffer.from(name).toString('hex').padEnd(64, '0'), name, architecture: 'llama', blockCount },
    ...{ profile: PROFILE, embeddingBytes: 0, headBytes: 0, positions: 16, computeBytes: 0 },
    blockBytes: new Array(blockCount).fill(MIB),
    positionBytes: new Array(blockCount).fill(0),
    ...changes
  }
}

export function hostedStage(
  peer: string,
  { model, name, architecture, blockCount, profile }: HostableModel,
  { start, end }: Pick<Span, 'start' | 'end'>,
  changes: Partial<HostedStage['stage']> = {}
): HostedStage {
  const stage = {
    ...{ model, name, architecture, start, end, blockCount, width: 4, head: end === blockCount },
    ...{ embedding: start === 0, profile, context: 16, maxRows: 16 },
    ...changes
  }
  return { peer, addresses: [], stage }
}

export interface TestNode {
  /** Blocks of one MiB that it has memory for. */
  readonly blocks: number
  span?: Span | undefined
}

/** Nodes that all know everything at once, and load in no time. */
export class TestWorld {
  readonly nodes = new Map<string, TestNode>()
  readonly models: readonly HostableModel[]
  readonly demand = new Map<string, number>()

  constructor(models: readonly HostableModel[], nodes: Record<string, TestNode> = {}) {
    this.models = models
    for (const [peer, node] of Object.entries(nodes)) this.nodes.set(peer, { ...node })
  }

  get stages(): HostedStage[] {
    return [...this.nodes].flatMap(([peer, { span }]) => {
      const model = this.models.find(({ model }) => model === span?.model)
      return span === undefined || model === undefined ? [] : [hostedStage(peer, model, span)]
    })
  }

  get offers(): Map<string, Offer> {
    const offerOf = ({ blocks }: TestNode): Offer =>
      new Map(this.models.map((model) => [model.model, roomOf(model, { memoryBytes: blocks * MIB })]))
    return new Map([...this.nodes].map(([peer, node]) => [peer, offerOf(node)]))
  }

  input(self: string): PlacementInput {
    const { blocks, span } = this.nodes.get(self) as TestNode
    return {
      ...{ self, caps: { memoryBytes: blocks * MIB }, hostable: this.models, stages: this.stages },
      ...{ offersOf: () => this.offers, demand: (model) => this.demand.get(model) ?? 0, current: span }
    }
  }

  /** The node decides, and does what it has decided. */
  act(peer: string): Move | undefined {
    const { move } = decide(this.input(peer))
    if (move !== undefined) (this.nodes.get(peer) as TestNode).span = move.span
    return move
  }

  isCovered({ model, blockCount }: HostableModel): boolean {
    const spans = this.stages.filter(({ stage }) => stage.model === model).map(({ stage }) => stage)
    return Array.from({ length: blockCount }, (_, block) => block).every((block) =>
      spans.some(({ start, end }) => start <= block && block < end)
    )
  }
}
