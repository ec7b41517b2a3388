/** A node's gateway: its answers over HTTP. */
import { setFlagsFromString } from 'node:v8'
import type { Startable } from '../common/index.ts'
import { systemClock } from '../common/index.ts'
import { Gateway, type GatewayInit, type GatewayLog, type NodeControl, pages } from '../gateway/index.ts'
import type { Node } from './node.ts'
import { answersOf } from './serving.ts'
import { swarmView } from './swarm-view.ts'

export interface NodeGatewayComponents {
  /** Where the pages may change the node. */
  readonly control?: NodeControl | undefined
  readonly log?: GatewayLog | undefined
}

/** To be started after its node, and stopped before it. */
export class NodeGateway implements Startable {
  readonly #answers: ReturnType<typeof answersOf>
  readonly #gateway: Gateway

  /** Throws a ShoalError KEYS or ADDRESS. */
  constructor(node: Node, init: GatewayInit, { control, log }: NodeGatewayComponents = {}) {
    this.#answers = answersOf(node)
    const components = { answers: this.#answers, swarm: swarmView(node), clock: systemClock, control, log }
    this.#gateway = new Gateway(components, { pages: pages(), ...init })
  }

  /** Where it is reached, once it has started. */
  get url(): string {
    return this.#gateway.url
  }

  /** Throws a ShoalError LISTEN. */
  async start(): Promise<void> {
    // bin/shoal.js keeps the room for young objects small. Hundreds of streams fill it many times a second, and what is
    // in use then is copied each time: a seventh of the processor's time with 200 clients.
    setFlagsFromString('--semi-space-growth-factor=2')
    await this.#answers.start()
    await this.#gateway.start()
  }

  async stop(): Promise<void> {
    await this.#gateway.stop()
    await this.#answers.stop()
  }
}
