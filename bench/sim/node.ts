/** A simulated machine with the real node's parts: it joins, hosts, asks, leaves or dies. */
import { Contributor } from '../../src/node/contributor.ts'
import { Participant } from '../../src/node/participant.ts'
import type { ShelvedModel } from '../../src/node/shelf.ts'
import type { SwarmComponents } from '../../src/swarm/index.ts'
import { gaussian, type Random } from '../../test/models/random.ts'
import { NodeClock } from './clock.ts'
import type { Death, SimHost } from './host.ts'
import { CONTEXT, type Machine, SESSIONS } from './machines.ts'
import type { SimNetwork } from './network.ts'
import { SimHosting } from './stage.ts'

/** Clocks that are set by NTP, most of them lately. */
const SKEW_MS = 2_000
/** As in Node.finish. */
const FINISH_MS = 120_000

export interface SimNodeInit {
  readonly machine: Machine
  readonly shelf: ReadonlyMap<string, ShelvedModel>
  /** To begin with. */
  readonly addresses: readonly string[]
  readonly onLoad: (isFirst: boolean) => void
}

export class SimNode {
  readonly host: SimHost
  readonly participant: Participant
  readonly contributor: Contributor
  readonly hosting: SimHosting
  readonly memoryBytes: number
  isLeaving = false
  readonly #clock: NodeClock

  constructor(
    network: SimNetwork,
    random: Random,
    opener: SwarmComponents['opener'],
    { machine, shelf, addresses, onLoad }: SimNodeInit
  ) {
    const clock = new NodeClock(network.clock, SKEW_MS * gaussian(random))
    this.#clock = clock
    this.host = network.add()
    this.memoryBytes = machine.memoryBytes
    this.hosting = new SimHosting(clock, machine, shelf, onLoad)
    this.participant = new Participant(
      { host: this.host, clock, random, opener },
      {
        joined: { kind: 'public', allow: [], block: [] },
        ...{ addresses, folder: '', isPassing: true },
        load: (model) => this.#stages.filter(({ info }) => info.model === model).map(({ load }) => load)
      }
    )
    this.contributor = new Contributor(
      { participant: this.participant, hosting: this.hosting, server: this.hosting, shelf, clock, random },
      {
        ...{ self: this.host.peerId, memoryBytes: machine.memoryBytes, report: () => {} },
        ...{ context: CONTEXT, sessions: SESSIONS, kvType: 'f16' }
      }
    )
    this.host.answer = (peer, request) => this.participant.answer(peer, request)
  }

  get #stages(): NonNullable<SimHosting['stage']>[] {
    return this.hosting.stage === undefined ? [] : [this.hosting.stage]
  }

  async start(): Promise<void> {
    await this.participant.start()
    this.participant.announce({ stages: [] })
    await this.contributor.start()
  }

  /** `shoal finish`: sessions move, then it says goodbye. */
  async leave(): Promise<void> {
    this.isLeaving = true
    await this.contributor.stop()
    this.participant.announce({ stages: [] })
    const { stage } = this.hosting
    stage?.close()
    const deadline = this.#clock.now() + FINISH_MS
    while ((stage?.sessions ?? 0) > 0 && this.#clock.now() < deadline) {
      await new Promise<void>((resolve) => this.#clock.after(1_000, resolve))
    }
    if (!this.host.isAlive) return
    await this.participant.stop()
    this.#gone('refuses')
  }

  /** Without a word. */
  die(death: Death): void {
    this.#gone(death)
    this.hosting.stage?.close()
  }

  #gone(death: Death): void {
    this.#clock.isRunning = false
    this.host.die(death)
  }
}
