/**
 * How a node comes to know others: from all sources at once, each with a deadline, and with words for people who
 * wonder what it waits for. It goes on for as long as the node runs: whoever is alone keeps looking.
 */
import type { Clock, Startable } from '../common/index.ts'
import type { Discovered, Host, PeerAddress } from '../net/index.ts'
import { type Swarm, within } from '../swarm/index.ts'
import type { Neighbours } from './neighbours.ts'
import { rememberedPeers, rememberPeers } from './remembered.ts'
import type { JoinStep } from './status.ts'

/** To connect, and to get a directory. */
const ANSWER_MS = 15_000
/** How often it looks whether there are enough peers. */
const LOOK_MS = 5_000
/** All sources again for whoever is alone, Kademlia again for whoever knows few: twice as long after each time. */
const LONGEST_PAUSE_MS = 60_000
/** Connections that are kept at least, so that gossip has its mesh (gossipsub wants six neighbours) and a spare. */
const ENOUGH_PEERS = 8
/**
 * And to nodes of each followed model: topics spread through connected nodes that follow them, which among thousands
 * are few by chance. Gossipsub is content with as many in a mesh.
 */
const ENOUGH_OF_MODEL = 4
/** Dialled at once: of those that are known some are dead. */
const DIALS = 4
/** Asked for all that they know. In a large swarm that is megabytes; others are asked for the followed models only. */
const WHOLE_DIRECTORIES = 3
/** Who hosts a model is said again this often: records live for two days, but whoever stores them may leave. */
const PROVIDE_MS = 60 * 60_000
/** Of a model, tried. */
const MAX_PROVIDERS = 3
const REMEMBER_MS = 5 * 60_000

export interface JoinerComponents {
  readonly host: Pick<
    Host,
    'peerId' | 'peers' | 'connect' | 'onDiscovered' | 'provide' | 'findProviders' | 'addressesOf'
  >
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
  /** Models that are followed: others who do are looked for. */
  readonly models: () => readonly string[]
  /** Models that this node hosts blocks of. */
  readonly hosted: () => readonly string[]
  readonly onUnreachable?: ((address: string, error: Error) => void) | undefined
}

const SOURCES = ['given', 'remembered', 'neighbours', 'mdns', 'kademlia'] as const
type Source = (typeof SOURCES)[number]

export class Joiner implements Startable {
  readonly #components: JoinerComponents
  readonly #init: JoinerInit
  readonly #steps = new Map<Source, Omit<JoinStep, 'name'>>()
  readonly #life = new AbortController()
  readonly #cancels = new Set<() => void>()
  /** Given addresses whose owner has been told that they don't answer. */
  readonly #warned = new Set<string>()
  /** Peers that multicast has led to. */
  readonly #discovered = new Set<string>()
  #stopListening: (() => void) | undefined
  #looking: Promise<void> | undefined
  #seeking: Promise<void> | undefined
  #wasAlone = true
  #pauseMs = LOOK_MS
  #lookAgainAt = 0
  /** Nodes that were asked for all, but for those who did not answer. */
  #wholes = 0
  /** By model: when Kademlia was told that it is hosted here. */
  readonly #provided = new Map<string, number>()
  #rememberAt: number

  constructor(components: JoinerComponents, init: JoinerInit) {
    this.#components = components
    this.#init = init
    this.#rememberAt = components.clock.now() + REMEMBER_MS
  }

  /** Resolves when every source was tried once; whoever can't be reached then is looked for on. Never rejects. */
  async start(): Promise<void> {
    for (const source of SOURCES) this.#say(source, waiting('for its turn'))
    this.#multicast()
    this.#stopListening = this.#components.host.onDiscovered((peer) => void this.#found(peer))
    this.#watch()
    await this.#lookEverywhere()
  }

  async stop(): Promise<void> {
    if (this.#life.signal.aborted) return
    this.#life.abort()
    this.#stopListening?.()
    for (const cancel of this.#cancels) cancel()
    await this.#remember()
  }

  get steps(): JoinStep[] {
    return [...this.#steps].map(([name, step]) => ({ name, ...step }))
  }

  #lookEverywhere(): Promise<void> {
    const look = async (): Promise<void> => {
      await Promise.all([this.#given(), this.#remembered(), this.#neighbours()])
      await this.#seek() // somebody has to be there to be asked
    }
    this.#looking ??= look().finally(() => {
      this.#looking = undefined
    })
    return this.#looking
  }

  #seek(): Promise<void> {
    this.#seeking ??= this.#kademlia().finally(() => {
      this.#seeking = undefined
    })
    return this.#seeking
  }

  async #given(): Promise<void> {
    const addresses = [...new Set(this.#init.addresses)]
    const nodes = Map.groupBy(addresses, nodeOf)
    if (nodes.size === 0) return this.#say('given', off('no addresses were given'))
    this.#say('given', waiting(`for ${count(nodes.size, 'node')} to answer`))
    const reached = await Promise.all([...nodes.values()].map((ways) => this.#oneOf(ways)))
    const answered = reached.filter(Boolean).length
    const silent = [...nodes.values()].filter((_, index) => !reached[index]).flat()
    const advice = `Check that these nodes are up, and that their addresses are right: ${silent.join(', ')}`
    const detail = `${answered} of ${count(nodes.size, 'node')} answered`
    this.#say('given', outcome(answered > 0, detail, silent.length > 0 ? advice : undefined))
  }

  /** Whether a node answers at one of its addresses. If not, its owner is told, once. */
  async #oneOf(addresses: readonly string[]): Promise<boolean> {
    const failures = await Promise.all(addresses.map(async (address) => [address, await this.#call(address)]))
    const isReached = failures.some(([, error]) => error === undefined)
    for (const [address, error] of failures as [string, Error][]) {
      if (isReached) this.#warned.delete(address)
      else if (!this.#life.signal.aborted && !this.#warned.has(address)) {
        this.#warned.add(address)
        this.#init.onUnreachable?.(address, error)
      }
    }
    return isReached
  }

  async #call(address: string): Promise<Error | undefined> {
    const { host } = this.#components
    try {
      await this.#within(async (signal) =>
        this.#learn(await host.connect(address, signal), [address], signal)
      )
      return undefined
    } catch (error) {
      return error as Error
    }
  }

  async #remembered(): Promise<void> {
    const { folder } = this.#init
    const peers = folder === undefined ? [] : await rememberedPeers(folder)
    if (peers.length === 0) return this.#say('remembered', off('no peers are known from before'))
    this.#say('remembered', waiting(`for ${count(peers.length, 'peer')} from last time`))
    const answered = await this.#tryAll(peers)
    const detail = `${answered} of ${count(peers.length, 'peer')} from last time answered`
    const advice = answered === 0 ? 'They may be off, or elsewhere: name a node with --peer.' : undefined
    this.#say('remembered', outcome(answered > 0, detail, advice))
  }

  async #neighbours(): Promise<void> {
    const { neighbours, host } = this.#components
    if (neighbours === undefined) return this.#say('neighbours', off('not looked for'))
    const others = (await neighbours.find()).filter(({ peer }) => peer !== host.peerId)
    const answered = await this.#tryAll(others)
    if (answered > 0 || others.length === 0) {
      this.#say('neighbours', outcome(true, `${count(answered, 'node')} of yours on this machine`))
    } else {
      const advice = 'They may be stuck: ask them with "shoal status --data-dir FOLDER".'
      this.#say(
        'neighbours',
        outcome(false, `none of your ${count(others.length, 'node')} here answers`, advice)
      )
    }
  }

  async #kademlia(): Promise<void> {
    const { kademlia, models } = this.#init
    if (!kademlia) return this.#say('kademlia', off('only joined swarms have it'))
    if (this.#components.host.peers.length === 0) {
      return this.#say('kademlia', waiting('for a first peer to ask'))
    }
    this.#say('kademlia', waiting('for an answer'))
    const answered = await Promise.all(models().map((model) => this.#hosts(model)))
    const all = answered.reduce((sum, some) => sum + some, 0)
    this.#say('kademlia', outcome(true, `${count(all, 'provider')} found`))
  }

  /** Those who host the model, for who asks for one that was not followed. */
  async find(model: string): Promise<void> {
    if (this.#init.kademlia) await this.#hosts(model)
  }

  /** How many of them answered. */
  async #hosts(model: string): Promise<number> {
    return this.#tryAll(await this.#within((signal) => this.#providers(model, signal)), [model])
  }

  async #providers(model: string, signal: AbortSignal): Promise<PeerAddress[]> {
    const { host } = this.#components
    const found: PeerAddress[] = []
    try {
      for await (const provider of host.findProviders(model, signal)) {
        if (provider.peer !== host.peerId) found.push(provider)
        if (found.length >= MAX_PROVIDERS) break
      }
    } catch {
      // Who was found until then is enough.
    }
    return found
  }

  /** It has no end: whoever comes later is found, too. */
  #multicast(): void {
    const { mdns } = this.#init
    this.#say('mdns', mdns ? waiting('for nodes on the local network') : off('only joined swarms have it'))
    if (!mdns) return
    this.#after(ANSWER_MS, () => {
      if (this.#discovered.size > 0) return
      const isAlone = this.#components.host.peers.length === 0
      const advice = 'If nodes run there: do firewalls let UDP port 5353 through?'
      const detail = 'nobody else was found on the local network until now'
      this.#say('mdns', outcome(!isAlone, detail, isAlone ? advice : undefined))
    })
  }

  async #found({ peer, addresses, isNear }: Discovered): Promise<void> {
    if (this.#components.host.peers.length >= ENOUGH_PEERS) return // anybody can name thousands
    if (!(await this.#try(peer, addresses)) || !isNear) return
    this.#discovered.add(peer)
    this.#say('mdns', outcome(true, `${count(this.#discovered.size, 'node')} found on the local network`))
  }

  /** How many of them answered. */
  async #tryAll(peers: readonly PeerAddress[], models?: readonly string[]): Promise<number> {
    const answered = await Promise.all(peers.map(({ peer, addresses }) => this.#try(peer, addresses, models)))
    return answered.filter(Boolean).length
  }

  async #try(peer: string, addresses: readonly string[], models?: readonly string[]): Promise<boolean> {
    try {
      await this.#within((signal) => this.#learn(peer, addresses, signal, models))
      return true
    } catch {
      return false
    }
  }

  async #learn(
    peer: string,
    addresses: readonly string[],
    signal: AbortSignal,
    models = this.#init.models()
  ): Promise<void> {
    if (peer === this.#components.host.peerId) return
    const isWhole = this.#wholes < WHOLE_DIRECTORIES
    if (isWhole) this.#wholes += 1
    try {
      await this.#components.swarm.learn(peer, [...addresses], isWhole ? [] : models, signal)
    } catch (error) {
      if (isWhole) this.#wholes -= 1
      throw error
    }
  }

  #watch(): void {
    const { clock } = this.#components
    this.#after(LOOK_MS, () => {
      this.#look()
      if (clock.now() > this.#rememberAt) {
        this.#rememberAt = clock.now() + REMEMBER_MS
        void this.#remember()
      }
      this.#watch()
    })
  }

  /** More of those that are known, for whoever has not enough peers; now and then, all sources or Kademlia again. */
  #look(): void {
    const { host, swarm } = this.#components
    const connected = new Set(host.peers)
    this.#provide()
    const known = this.#init.models().flatMap((model) => this.#lackedFor(model, connected))
    if (connected.size < ENOUGH_PEERS) known.push(...this.#strangers(swarm.directory.nodes, connected))
    void this.#tryAll([...new Map(known.map((node) => [node.peer, node])).values()])
    if (connected.size < ENOUGH_PEERS) this.#lookAgain(connected.size === 0)
  }

  #lookAgain(isAlone: boolean): void {
    const { clock } = this.#components
    if (isAlone !== this.#wasAlone) {
      this.#wasAlone = isAlone
      this.#pauseMs = LOOK_MS
      this.#lookAgainAt = 0
    }
    if (this.#looking !== undefined || clock.now() < this.#lookAgainAt) return
    this.#pauseMs = Math.min(2 * this.#pauseMs, LONGEST_PAUSE_MS)
    this.#lookAgainAt = clock.now() + this.#pauseMs
    void (isAlone ? this.#lookEverywhere() : this.#seek())
  }

  /** Nodes to connect to, so that what is said about the model is heard. */
  #lackedFor(model: string, connected: ReadonlySet<string>): PeerAddress[] {
    const { directory } = this.#components.swarm
    let missing = ENOUGH_OF_MODEL
    for (const peer of connected) {
      const known = directory.get(peer)
      if (known?.hosts.has(model) || known?.offer.has(model)) missing -= 1
    }
    return missing <= 0 ? [] : this.#strangers(directory.nodesOf(model), connected).slice(0, missing)
  }

  /** Some at random of those that are not connected. */
  #strangers(nodes: readonly PeerAddress[], connected: ReadonlySet<string>): PeerAddress[] {
    const { host, random } = this.#components
    const known = nodes.filter(
      ({ peer, addresses }) => peer !== host.peerId && !connected.has(peer) && addresses.length > 0
    )
    const chosen: PeerAddress[] = []
    while (chosen.length < DIALS && known.length > 0) {
      const [node] = known.splice(Math.floor(random() * known.length), 1)
      if (node !== undefined) chosen.push({ peer: node.peer, addresses: [...node.addresses] })
    }
    return chosen
  }

  /** So that whoever follows a model finds somebody who does. */
  #provide(): void {
    const { host, clock } = this.#components
    if (!this.#init.kademlia || host.peers.length === 0) return
    for (const model of this.#init.hosted()) {
      if (clock.now() < (this.#provided.get(model) ?? Number.NEGATIVE_INFINITY) + PROVIDE_MS) continue
      this.#provided.set(model, clock.now())
      void host.provide(model, this.#life.signal).catch(() => {}) // said again in an hour
    }
  }

  async #remember(): Promise<void> {
    const { folder } = this.#init
    if (folder === undefined) return
    const { host } = this.#components
    const peers = host.peers.map((peer) => ({ peer, addresses: host.addressesOf(peer) }))
    await rememberPeers(folder, peers).catch(() => {}) // a full disk: they are found again in other ways
  }

  #within<T>(work: (signal: AbortSignal) => Promise<T>): Promise<T> {
    return within(this.#components.clock, ANSWER_MS, work, this.#life.signal)
  }

  #after(ms: number, run: () => void): void {
    if (this.#life.signal.aborted) return
    const cancel = this.#components.clock.after(ms, () => {
      this.#cancels.delete(cancel)
      run()
    })
    this.#cancels.add(cancel)
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

/** Those with the same are one node's. */
function nodeOf(address: string): string {
  return /\/p2p\/([^/]+)$/.exec(address)?.[1] ?? address
}

function count(number: number, what: string): string {
  return `${number} ${number === 1 ? what : `${what}s`}`
}
