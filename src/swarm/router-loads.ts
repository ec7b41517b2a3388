/** How busy stages are, as their nodes just said. */
import type { Clock } from '../common/index.ts'
import type { StageLoad, SwarmAnswer, SwarmRequest } from '../net/index.ts'
import type { HostedStage } from './discover.ts'

/** Asked again after this time: what others know as well draws them to the same stages. */
const FRESH_MS = 2_000
/** A question may first have to dial. Whoever takes longer is not asked again and again meanwhile. */
const ASK_MS = 10_000
/** Nodes and models whose load is remembered. */
const MAX_LOADS = 1_024

export type Ask = (
  peer: string,
  addresses: string[],
  request: SwarmRequest,
  signal: AbortSignal
) => Promise<SwarmAnswer>

/** Of one stage. Silent: no answer, or none yet. Gone: its node hosts other blocks now. Unknown: it doesn't say. */
export type Load = StageLoad | 'silent' | 'gone' | 'unknown'

interface Asked {
  readonly at: number
  readonly settled: Promise<void>
  /** Undefined: silent until now. */
  stages: StageLoad[] | 'unknown' | undefined
}

export class Loads {
  readonly #clock: Clock
  readonly #ask: Ask
  /** By peer and model, the one asked longest ago first. */
  readonly #asked = new Map<string, Asked>()

  constructor({ clock, ask }: { clock: Clock; ask: Ask }) {
    this.#clock = clock
    this.#ask = ask
  }

  /**
   * Asks the nodes of these stages, all at once. Resolves when all have answered, or were asked at least `deadlineMs`
   * ago.
   */
  async ask(hops: readonly HostedStage[], deadlineMs: number): Promise<void> {
    const now = this.#clock.now()
    const asked = hops.map((hop) => this.#known(hop) ?? this.#start(hop))
    const waiting = asked.filter(({ at, stages }) => stages === undefined && now - at < deadlineMs)
    if (waiting.length === 0) return
    let cancel = (): void => {}
    const deadline = new Promise<void>((resolve) => {
      cancel = this.#clock.after(deadlineMs, resolve)
    })
    await Promise.race([Promise.all(waiting.map(({ settled }) => settled)), deadline])
    cancel()
  }

  of(hop: HostedStage): Load {
    const asked = this.#known(hop)
    if (asked === undefined || asked.stages === 'unknown') return 'unknown'
    return asked.stages === undefined ? 'silent' : (loadIn(asked.stages, hop) ?? 'gone')
  }

  /** A session is about to open there: it has one place less until it is asked again. */
  take(hop: HostedStage): void {
    const asked = this.#known(hop)
    if (!Array.isArray(asked?.stages)) return
    const load = loadIn(asked.stages, hop)
    asked.stages = asked.stages.map((other) =>
      other === load ? { ...load, freeSessions: Math.max(0, load.freeSessions - 1) } : other
    )
  }

  #known(hop: HostedStage): Asked | undefined {
    const asked = this.#asked.get(keyOf(hop))
    const freshMs = asked?.stages === undefined ? ASK_MS : FRESH_MS
    return asked !== undefined && this.#clock.now() - asked.at < freshMs ? asked : undefined
  }

  #start(hop: HostedStage): Asked {
    const aborter = new AbortController()
    const cancel = this.#clock.after(ASK_MS, () => aborter.abort(new Error('no answer in time')))
    const { peer, addresses, stage } = hop
    const answered = this.#ask(peer, [...addresses], { type: 'load', model: stage.model }, aborter.signal)
    const asked: Asked = {
      at: this.#clock.now(),
      stages: undefined,
      settled: answered
        .then((answer) => {
          asked.stages = answer.type === 'load' ? answer.stages : 'unknown'
        })
        .catch(() => {}) // as good as silent
        .finally(cancel)
    }
    const key = keyOf(hop)
    this.#asked.delete(key)
    this.#asked.set(key, asked)
    if (this.#asked.size > MAX_LOADS) this.#asked.delete(this.#asked.keys().next().value as string)
    return asked
  }
}

function keyOf({ peer, stage }: HostedStage): string {
  return `${peer} ${stage.model}`
}

function loadIn(loads: readonly StageLoad[], { stage }: HostedStage): StageLoad | undefined {
  return loads.find(
    ({ model, start, end }) => model === stage.model && start === stage.start && end === stage.end
  )
}
