/** What goes over the wire: of each node, and of each kind. */

/** Messages and bytes of one node. */
export interface Counts {
  /** First copies of gossip. */
  heard: number
  /** Copies of what it had already. */
  repeated: number
  /** Requests and answers, both ways. */
  asked: number
  bytesIn: number
  bytesOut: number
}

export function noCounts(): Counts {
  return { heard: 0, repeated: 0, asked: 0, bytesIn: 0, bytesOut: 0 }
}

/** Protobuf, gossipsub's topic, yamux, Noise and TCP around a message. */
export const BYTES_AROUND = 180
/** What a request without much in it takes. */
export const REQUEST_BYTES = 60
/** TCP, Noise with certificates, yamux, identify, both sides. */
export const DIAL_BYTES = 6_000

/** Of all nodes together, by kind. */
export class Kinds {
  readonly counts = new Map<string, { count: number; bytes: number }>()

  add(kind: string, count = 1, bytes = 0): void {
    const known = this.counts.get(kind)
    if (known === undefined) this.counts.set(kind, { count, bytes })
    else {
      known.count += count
      known.bytes += bytes
    }
  }

  clear(): void {
    this.counts.clear()
  }
}
