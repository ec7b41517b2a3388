/** Who could take over which part of a chain. */
import { type RowCodec, speaks } from '../net/index.ts'
import { type ChainHop, findCover, type HostedStage, profileKey } from '../swarm/index.ts'

/** A stage that failed is passed over for so long, doubled each time, up to the last. */
const PASS_OVER_MS = 250
const LONGEST_PASS_OVER_MS = 20_000

/** Who hosts what, and how to learn of more. */
export interface StageSource {
  readonly stages: readonly HostedStage[]
  refresh(signal?: AbortSignal): Promise<void>
}

export interface Replacement {
  /**
   * The hops to replace, `[from, to)`: beyond those that were lost where nobody else can be entered at their start,
   * or left at their end.
   */
  readonly from: number
  readonly to: number
  readonly places: readonly ChainHop[]
}

export class Spares {
  /** What whoever takes over has to speak. */
  codec: RowCodec
  readonly #source: StageSource
  readonly #model: string
  readonly #profile: string
  readonly #failures = new Map<string, { readonly times: number; readonly until: number }>()

  constructor(source: StageSource, like: HostedStage, codec: RowCodec) {
    this.codec = codec
    this.#source = source
    this.#model = like.stage.model
    this.#profile = profileKey(like.stage.profile)
  }

  refresh(signal: AbortSignal): Promise<void> {
    return this.#source.refresh(signal)
  }

  /** It was lost, or did not open. */
  failed(peer: string): void {
    const now = performance.now()
    const before = this.#failures.get(peer)
    const isOld = before === undefined || now > before.until + LONGEST_PASS_OVER_MS
    const times = isOld ? 1 : before.times + 1
    const until = now + Math.min(PASS_OVER_MS * 2 ** (times - 1), LONGEST_PASS_OVER_MS)
    this.#failures.set(peer, { times, until })
  }

  /**
   * The fewest stages for the blocks of `hops[from..to)`, of nodes that never failed if possible, and with as few
   * hops beside them given up as possible: a stage can only be entered at its first block, and a tail only be left
   * at its end.
   */
  replace(hops: readonly ChainHop[], from: number, to: number, without?: string): Replacement | undefined {
    const now = performance.now()
    const fits = this.#source.stages.filter(
      ({ peer, stage }) =>
        peer !== without &&
        stage.model === this.#model &&
        profileKey(stage.profile) === this.#profile &&
        speaks(stage, this.codec)
    )
    const unfailed = fits.filter(({ peer }) => !this.#failures.has(peer))
    const again = fits.filter(({ peer }) => (this.#failures.get(peer)?.until ?? 0) <= now)
    for (const candidates of [unfailed, again]) {
      for (const [first, last] of widened(hops.length, from, to)) {
        const range = { start: hops[first]?.start ?? 0, end: hops[last - 1]?.end ?? 0 }
        const places = findCover(candidates, range)
        if (places !== undefined) return { from: first, to: last, places }
      }
    }
    return undefined
  }
}

/** `[from, to)` and all that are wider, the least wide first. */
function* widened(hops: number, from: number, to: number): Generator<readonly [number, number]> {
  for (let more = 0; more <= from + hops - to; more++) {
    for (let before = Math.min(more, from); before >= 0 && to + more - before <= hops; before--) {
      yield [from - before, to + more - before]
    }
  }
}
