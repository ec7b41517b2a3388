/** A peer that is driven by hand: it opens sessions as a consumer does, and takes frames as a next hop does. */
import { randomBytes } from 'node:crypto'
import {
  type ControlMessage,
  type ControlStream,
  createHost,
  type DataSender,
  type Frame,
  type Host,
  type Open
} from '../src/net/index.ts'
import type { Node } from '../src/node/index.ts'
import { defaultSampler } from '../src/session/index.ts'
import { eventually } from './swarm.ts'

const LIMITS = { width: 128, maxRows: 512 }

/** One control stream, and what was heard on it. */
export class Conversation {
  readonly control: ControlStream
  readonly messages: ControlMessage[] = []
  hasEnded = false

  constructor(control: ControlStream) {
    this.control = control
    const end = (): void => {
      this.hasEnded = true
    }
    control.start({ receive: (message) => this.messages.push(message), end })
  }

  heard<T extends ControlMessage['type']>(type: T): Promise<Extract<ControlMessage, { type: T }>> {
    return eventually(() => {
      const found = this.messages.find((message) => message.type === type)
      if (found === undefined) throw new Error(`no ${type} among ${JSON.stringify(this.messages)}`)
      return found as Extract<ControlMessage, { type: T }>
    })
  }
}

export class HandPeer {
  readonly host: Host
  /** Frames that stages sent here as to their next hop. */
  readonly frames: Frame[] = []

  constructor() {
    this.host = createHost({ identity: { ephemeral: true }, listen: ['/ip4/127.0.0.1/tcp/0'] })
    this.host.serve({
      info: () => ({ version: '0', stages: [], addresses: [], peers: [] }),
      control: (stream) => stream.abort(new Error('no stage here')),
      data: (_, stream) => {
        stream.start(LIMITS, { receive: (frame) => this.frames.push(frame), end: () => {} })
        return { epoch: 0, length: 0, maxRows: LIMITS.maxRows }
      }
    })
  }

  start(): Promise<void> {
    return this.host.start()
  }

  stop(): Promise<void> {
    return this.host.stop()
  }

  /** An Open that `node` accepts, but for the changes; this peer is the next hop. */
  openMessage(node: Node, changes: Partial<Open> = {}): Open {
    const { model, start, end, head, profile } = (node.stage as NonNullable<Node['stage']>).info
    const next = { peer: this.host.peerId, addresses: this.host.addresses, ticket: randomBytes(16) }
    return {
      ...{ type: 'open', session: randomBytes(16), model, start, end, head, profile },
      ...{ ticketIn: randomBytes(16), reserve: 64 },
      ...(head ? { sampler: defaultSampler() } : { next }),
      ...changes
    }
  }

  async say(node: Node, message: ControlMessage): Promise<Conversation> {
    const control = await this.host.openControl(node.host.peerId, node.host.addresses)
    const conversation = new Conversation(control)
    control.send(message)
    return conversation
  }

  data(node: Node, ticket: Uint8Array): Promise<DataSender> {
    return this.host.openData(node.host.peerId, node.host.addresses, ticket)
  }

  /** An open session and the stream for its frames. */
  async open(node: Node, changes: Partial<Open> = {}): Promise<{ talk: Conversation; data: DataSender }> {
    const message = this.openMessage(node, changes)
    const talk = await this.say(node, message)
    await talk.heard('opened')
    return { talk, data: await this.data(node, message.ticketIn) }
  }
}
