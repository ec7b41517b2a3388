/**
 * How a node comes to know others: from all sources at once, each with a deadline, and with words for people who
 * wonder what it waits for. It goes on for as long as the node runs: whoever is alone keeps looking.
 */
import type { Clock, Startable } from '../common/index.ts'
import type { Host, PeerAddress } from '../net/index.ts'
import type { Swarm } from '../swarm/index.ts'
import type { Neighbours } from './neighbours.ts'
import { rememberedPeers, rememberPeers } from './remembered.ts'
import type { JoinStep } from './status.ts'

/** To connect, and to get a directory. */
const ANSWER_MS = 15_000
/** How often it looks whether there are enough peers. */
const LOOK_MS = 5_000
/** Looking again for the first peer: as often in the beginning, less and less later. */
const LONGEST_PAUSE_MS = 60_000
/** Connections that are kept at least, so that gossip has its mesh (gossipsub wants six neighbours) and a spare. */
const ENOUGH_PEERS = 8
/** Dialled at once: of those that are known some are dead. */
const DIALS = 4
const REMEMBER_MS = 5 * 60_000

export interface JoinerComponents {
  readonly host: Pick<Host, 'peerId' | 'peers' | 'connect' | 'onDiscovered' | 'findProviders' | 'addressesOf'>
  readonly swarm: Pick<Swarm, 'learn' | 'directory'>
  readonly neighbours?: Neighbours | undefined
  readonly clock: Clock
  readonly random: () => number
}

export interface JoinerInit {
  /** Multiaddrs from flags or from an invitation. */
  readonly addresses: readonly string[]
  /** Where peers are remembered; undefined: they aren't. */
  readonly folder?: string | undefined
  readonly mdns: boolean
  readonly kademlia: boolean
  /** Whose providers to ask Kademlia for. */
  readonly models: () => readonly string[]
  readonly onUnreachable?: ((address: string, error: Error) => void) | undefined
}

type Source = 'given' | 'remembered' | 'neighbours' | 'mdns' | 'kademlia'

export class Joiner implements Startable {
  readonly #components: JoinerComponents
  readonly #init: JoinerInit
  readonly #steps = new Map<Source, Omit<JoinStep, 'name'>>()
  readonly #life = new AbortController()
  #stopListening: (() => void) | undefined
  #discovered = 0
  #pauseMs = LOOK_MS
  #lookAgainAt = 0
  #rememberAt: number

  constructor(components: JoinerComponents, init: JoinerInit) {
    this.#components = components
    this.#init = init
    this.#rememberAt = components.clock.now() + REMEMBER_MS
  }

  /** Resolves when every source was tried once; whoever can't be reached then is looked for on. */
  async start(): Promise<void> {
    const { mdns } = this.#init
    this.#steps.set('mdns', mdns ? this.#multicast() : off('only the local network has it'))
    this.#stopListening = this.#components.host.onDiscovered((peer) => void this.#found(peer))
    await this.#lookEverywhere()
    this.#watch()
  }

  async stop(): Promise<void> {
    if (this.#life.signal.aborted) return
    this.#life.abort()
    this.#stopListening?.()
    await this.#remember()
  }

  get steps(): JoinStep[] {
    return [...this.#steps].map(([name, step]) => ({ name, ...step }))
  }

  async #lookEverywhere(): Promise<void> {
    await Promise.all([this.#given(), this.#remembered(), this.#neighbours(), this.#kademlia()])
  }

  async #given(): Promise<void> {
    const { addresses, onUnreachable } = this.#init
    if (addresses.length === 0) return this.#say('given', off('no addresses were given'))
    this.#say('given', waiting(`for ${count(addresses.length, 'address', 'addresses')} to answer`))
    const failures: string[] = []
    await Promise.all(
      addresses.map(async (address) => {
        try {
          const signal = this.#deadline()
          await this.#learn(await this.#components.host.connect(address, signal), [address], signal)
        } catch (error) {
          if (this.#life.signal.aborted) return
          failures.push(address)
          onUnreachable?.(address, error as Error)
        }
      })
    )
    const answered = addresses.length - failures.length
    const detail = `${answered} of ${count(addresses.length, 'address', 'addresses')} answered`
    const advice = `Check that these nodes are up, and that their addresses are right: ${failures.join(', ')}`
    this.#say('given', outcome(answered > 0, detail, failures.length > 0 ? advice : undefined))
  }

  async #remembered(): Promise<void> {
    const { folder } = this.#init
    const peers = folder === undefined ? [] : await rememberedPeers(folder)
    if (peers.length === 0) return this.#say('remembered', off('no peers are known from before'))
    this.#say('remembered', waiting(`for ${count(peers.length, 'peer', 'peers')} from last time`))
    const answered = await this.#tryAll(peers)
    const detail = `${answered} of ${count(peers.length, 'peer', 'peers')} from last time answered`
    this.#say('remembered', outcome(answered > 0, detail))
  }

  async #neighbours(): Promise<void> {
    const { neighbours, host } = this.#components
    if (neighbours === undefined) return this.#say('neighbours', off('not looked for'))
    const others = (await neighbours.find()).filter(({ peer }) => peer !== host.peerId)
    const answered = await this.#tryAll(others)
    const detail = `${count(answered, 'node', 'nodes')} of yours on this machine`
    this.#say('neighbours', outcome(true, detail))
  }

  async #kademlia(): Promise<void> {
    const { kademlia, models } = this.#init
    if (!kademlia) return this.#say('kademlia', off('only joined swarms have it'))
    if (this.#components.host.peers.length === 0) {
      return this.#say('kademlia', waiting('for a first peer to ask'))
    }
    this.#say('kademlia', waiting('for an answer'))
    const signal = this.#deadline()
    const found = await Promise.all(models().map((model) => this.#providers(model, signal)))
    const peers = found.flat().filter(({ peer }) => peer !== this.#components.host.peerId)
    const answered = await this.#tryAll(peers)
    this.#say('kademlia', outcome(true, `${count(answered, 'provider', 'providers')} found`))
  }

  async #providers(model: string, signal: AbortSignal): Promise<PeerAddress[]> {
    const found: PeerAddress[] = []
    try {
      for await (const peer of this.#components.host.findProviders(model, signal)) found.push(peer)
    } catch {
      // Who was found until then is enough.
    }
    return found
  }

  #multicast(): Omit<JoinStep, 'name'> {
    return this.#discovered > 0
      ? outcome(true, `${count(this.#discovered, 'node', 'nodes')} on the local network`)
      : waiting('for nodes on the local network')
  }

  async #found({ peer, addresses }: PeerAddress): Promise<void> {
    if (!(await this.#try(peer, addresses)) || !this.#init.mdns) return
    this.#discovered += 1
    this.#say('mdns', this.#multicast())
  }

  /** How many of them answered. */
  async #tryAll(peers: readonly PeerAddress[]): Promise<number> {
    const answered = await Promise.all(peers.map(({ peer, addresses }) => this.#try(peer, addresses)))
    return answered.filter(Boolean).length
  }

  async #try(peer: string, addresses: readonly string[]): Promise<boolean> {
    try {
      await this.#learn(peer, addresses, this.#deadline())
      return true
    } catch {
      return false
    }
  }

  async #learn(peer: string, addresses: readonly string[], signal: AbortSignal): Promise<void> {
    if (peer === this.#components.host.peerId) return
    await this.#components.swarm.learn(peer, [...addresses], [], signal)
  }

  #watch(): void {
    const { clock } = this.#components
    clock.after(LOOK_MS, () => {
      if (this.#life.signal.aborted) return
      this.#look()
      if (clock.now() > this.#rememberAt) {
        this.#rememberAt = clock.now() + REMEMBER_MS
        void this.#remember()
      }
      this.#watch()
    })
  }

  /** Enough peers, or more of those that are known; all sources again for whoever has none. */
  #look(): void {
    const { host, clock } = this.#components
    const connected = new Set(host.peers)
    if (connected.size >= ENOUGH_PEERS) return
    const known = this.#strangers(connected)
    if (known.length > 0) void this.#tryAll(known)
    else if (connected.size === 0 && clock.now() >= this.#lookAgainAt) {
      this.#pauseMs = Math.min(2 * this.#pauseMs, LONGEST_PAUSE_MS)
      this.#lookAgainAt = clock.now() + this.#pauseMs
      void this.#lookEverywhere()
    }
    if (connected.size > 0) this.#pauseMs = LOOK_MS
  }

  /** Some at random of those that are known and not connected. */
  #strangers(connected: ReadonlySet<string>): PeerAddress[] {
    const { swarm, host, random } = this.#components
    const known = swarm.directory.nodes.filter(
      ({ peer, addresses }) => peer !== host.peerId && !connected.has(peer) && addresses.length > 0
    )
    const chosen: PeerAddress[] = []
    while (chosen.length < DIALS && known.length > 0) {
      const [node] = known.splice(Math.floor(random() * known.length), 1)
      if (node !== undefined) chosen.push({ peer: node.peer, addresses: [...node.addresses] })
    }
    return chosen
  }

  async #remember(): Promise<void> {
    const { folder } = this.#init
    if (folder === undefined) return
    const { host } = this.#components
    const peers = host.peers.map((peer) => ({ peer, addresses: host.addressesOf(peer) }))
    await rememberPeers(folder, peers).catch(() => {}) // a full disk: they are found again in other ways
  }

  #deadline(): AbortSignal {
    return AbortSignal.any([this.#life.signal, AbortSignal.timeout(ANSWER_MS)])
  }

  #say(source: Source, step: Omit<JoinStep, 'name'>): void {
    this.#steps.set(source, step)
  }
}

function off(detail: string): Omit<JoinStep, 'name'> {
  return { state: 'off', detail }
}

function waiting(detail: string): Omit<JoinStep, 'name'> {
  return { state: 'waiting', detail }
}

function outcome(isDone: boolean, detail: string, advice?: string): Omit<JoinStep, 'name'> {
  return { state: isDone ? 'done' : 'failed', detail, ...(advice === undefined ? {} : { advice }) }
}

function count(number: number, one: string, many: string): string {
  return `${number} ${number === 1 ? one : many}`
}
