/** Whether a provider has got back all that sessions had of it. */
import { randomBytes } from 'node:crypto'
import { type ControlStream, createHost, type Host, type Open } from '../../src/net/index.ts'
import { defaultSampler } from '../../src/session/index.ts'
import type { HostedStage } from '../../src/swarm/index.ts'

/** A stage keeps the place of a consumer whose connection broke for 30 s. */
const FREE_MS = 40_000
const AGAIN_MS = 100

/** Takes all places and all positions of stages, to see that nobody else has some. */
export class Prober {
  readonly #host: Host

  constructor() {
    this.#host = createHost({ identity: { ephemeral: true }, listen: ['/ip4/127.0.0.1/tcp/0'] })
    this.#host.serve({
      info: () => ({ version: '', stages: [], addresses: [], peers: [] }),
      control: (stream) => stream.abort(new Error('no stage here')),
      data: (_, stream) => {
        stream.start({ width: 1, maxRows: 1 }, { receive: () => {}, end: () => {} })
        return { epoch: 0, length: 0, maxRows: 1 }
      }
    })
  }

  start(): Promise<void> {
    return this.#host.start()
  }

  stop(): Promise<void> {
    return this.#host.stop()
  }

  /** Milliseconds until `sessions` sessions can have all positions of the stage together. Throws what is missing. */
  async freeAfter(hosted: HostedStage, sessions: number): Promise<number> {
    const started = performance.now()
    for (;;) {
      const streams: ControlStream[] = []
      const answers = await Promise.all(
        Array.from({ length: sessions }, () => this.#take(hosted, hosted.stage.context / sessions, streams))
      )
      await Promise.all(streams.map((stream) => stream.close()))
      const waited = performance.now() - started
      const refusals = answers.filter((answer) => answer !== undefined)
      if (refusals.length === 0) return waited
      if (waited > FREE_MS) {
        const { start, end } = hosted.stage
        throw new Error(`blocks ${start}-${end}: ${refusals.length} of ${sessions} refused: ${refusals[0]}`)
      }
      await new Promise((resolve) => setTimeout(resolve, AGAIN_MS))
    }
  }

  /** Resolves to why there is no place. */
  async #take(
    { peer, addresses, stage }: HostedStage,
    reserve: number,
    streams: ControlStream[]
  ): Promise<string | undefined> {
    const control = await this.#host.openControl(peer, [...addresses])
    streams.push(control)
    const { model, start, end, head, profile } = stage
    const next = { peer: this.#host.peerId, addresses: this.#host.addresses, ticket: randomBytes(16) }
    const open: Open = {
      ...{ type: 'open', session: randomBytes(16), model, start, end, head, profile, reserve },
      ticketIn: randomBytes(16),
      ...(head ? { sampler: defaultSampler() } : { next })
    }
    const answer = Promise.withResolvers<string | undefined>()
    control.start({
      receive: (message) => {
        if (message.type === 'opened') answer.resolve(undefined)
        if (message.type === 'refused') answer.resolve(message.message)
      },
      end: (error) => answer.resolve(error?.message ?? 'it closed the stream')
    })
    control.send(open)
    const refusal = await answer.promise
    if (refusal === undefined) control.send({ type: 'close' })
    return refusal
  }
}
