/** A node's gateway: its answers over HTTP. */
import type { Startable } from '../common/index.ts'
import { systemClock } from '../common/index.ts'
import { Gateway, type GatewayInit, type GatewayLog } from '../gateway/index.ts'
import type { Node } from './node.ts'
import { answersOf, swarmView } from './serving.ts'

/** To be started after its node, and stopped before it. */
export class NodeGateway implements Startable {
  readonly #answers: ReturnType<typeof answersOf>
  readonly #gateway: Gateway

  /** Throws a ShoalError KEYS or ADDRESS. */
  constructor(node: Node, init: GatewayInit, log?: GatewayLog) {
    this.#answers = answersOf(node)
    const components = { answers: this.#answers, swarm: swarmView(node), clock: systemClock, log }
    this.#gateway = new Gateway(components, init)
  }

  /** Where it is reached, once it has started. */
  get url(): string {
    return this.#gateway.url
  }

  /** Throws a ShoalError LISTEN. */
  async start(): Promise<void> {
    await this.#answers.start()
    await this.#gateway.start()
  }

  async stop(): Promise<void> {
    await this.#gateway.stop()
    await this.#answers.stop()
  }
}
