/**
 * What a hop of a pipeline and an all-reduce of tensor parallelism take over emulated links: four hosts in this process,
 * frames of one row over libp2p. Nothing is computed; docs/study/parallelism.md multiplies.
 * `npm run bench -- collective [--rounds 15] [--width 4096] [--profiles lan,city,country,world,bad]`
 */
import { parseArgs } from 'node:util'
import { createHost, type DataSender, type Frame, type Host } from '../src/net/index.ts'
import { emulate, PROFILES, profileNamed } from '../test/wan/index.ts'
import { type Bench, type Figure, median, rounded } from './bench.ts'

const NODES = 4
const WARM_UP = 3

export const bench: Bench = {
  name: 'collective',
  description:
    'a pipeline hop against an all-reduce over emulated links (--rounds N --width N --profiles A,B)',
  async run({ flags, log }) {
    const { values } = parseArgs({
      args: flags,
      options: {
        rounds: { type: 'string', default: '15' },
        width: { type: 'string', default: '4096' },
        profiles: { type: 'string', default: 'lan,city,country,world,bad' }
      }
    })
    const links = emulate(PROFILES.none)
    const group = await Group.start(Number(values.width))
    const figures: Record<string, Figure> = {}
    try {
      for (const name of values.profiles.split(',')) {
        links.profile = profileNamed(name)
        log(name)
        const add = async (figure: string, round: () => Promise<void>, parts: number, note: string) => {
          const runs = await timed(round, Number(values.rounds), parts)
          figures[`${figure}_${name}`] = {
            value: rounded(median(runs)),
            unit: 'ms',
            runs: runs.map(rounded),
            note
          }
        }
        await add('hop', () => group.ring(), NODES, `of a ring of ${NODES}`)
        await add('direct', () => group.allReduce(), 1, `an all-reduce of ${NODES}, each to all others`)
        await add('star', () => group.star(), 1, `an all-reduce of ${NODES}, all to one and back`)
      }
    } finally {
      links.profile = PROFILES.none
      await group.stop()
    }
    return figures
  }
}

/** Milliseconds of each round's parts. */
async function timed(round: () => Promise<void>, rounds: number, parts: number): Promise<number[]> {
  const times: number[] = []
  for (let index = 0; index < rounds + WARM_UP; index++) {
    const start = performance.now()
    await round()
    if (index >= WARM_UP) times.push((performance.now() - start) / parts)
  }
  return times
}

/** Hosts with a stream from each to each other. */
class Group {
  readonly #hosts: Host[] = []
  /** By sender, then receiver. */
  readonly #senders: DataSender[][] = []
  readonly #frame: Frame
  #received: (from: number, to: number) => void = () => {}

  private constructor(width: number) {
    const payload = new Uint8Array(new Float32Array(width).fill(0.01).buffer)
    this.#frame = {
      epoch: 0,
      follows: 0,
      position: 0,
      sample: 'none',
      codec: 'f32',
      tokens: new Int32Array(1),
      payload
    }
  }

  static async start(width: number): Promise<Group> {
    const group = new Group(width)
    const hosts = group.#hosts
    for (let to = 0; to < NODES; to++) {
      const host = createHost({ identity: { ephemeral: true }, listen: ['/ip4/127.0.0.1/tcp/0'] })
      host.serve({
        info: () => ({ version: '', stages: [], addresses: [], peers: [] }),
        control: (stream) => void stream.close(),
        data: (_ticket, stream) => {
          const from = hosts.findIndex(({ peerId }) => peerId === stream.peer)
          stream.start({ width, maxRows: 1 }, { receive: () => group.#received(from, to), end: () => {} })
          return { epoch: 0, length: 0, maxRows: 1 }
        }
      })
      hosts.push(host)
      await host.start()
    }
    for (const host of hosts) {
      const open = (other: Host): Promise<DataSender> =>
        host.openData(other.peerId, other.addresses, new Uint8Array(16))
      group.#senders.push(
        await Promise.all(hosts.map((other) => open(other === host ? (hosts[0] as Host) : other)))
      )
    }
    return group
  }

  #send(from: number, to: number): void {
    void this.#senders[from]?.[to]?.send(this.#frame)
  }

  /** Once round, each sending on what it got. */
  ring(): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>()
    this.#received = (_, to) => (to === 0 ? resolve() : this.#send(to, (to + 1) % NODES))
    this.#send(0, 1)
    return promise
  }

  /** Everybody's part to everybody else. */
  allReduce(): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>()
    let left = NODES * (NODES - 1)
    this.#received = () => {
      left -= 1
      if (left === 0) resolve()
    }
    for (let from = 0; from < NODES; from++) {
      for (let to = 0; to < NODES; to++) if (from !== to) this.#send(from, to)
    }
    return promise
  }

  /** All parts to the first, who sends the sum to all others. */
  star(): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>()
    let [parts, sums] = [NODES - 1, NODES - 1]
    this.#received = (_, to) => {
      if (to !== 0) sums -= 1
      else parts -= 1
      if (to === 0 && parts === 0) for (let other = 1; other < NODES; other++) this.#send(0, other)
      if (sums === 0) resolve()
    }
    for (let from = 1; from < NODES; from++) this.#send(from, 0)
    return promise
  }

  async stop(): Promise<void> {
    await Promise.all(this.#hosts.map((host) => host.stop()))
  }
}
