/**
 * Emulated links, for benches, tests and the chaos suite: all TCP connections of libp2p nodes in this process, made from
 * now on, send through their node's own uplink, which delays, limits and loses as a profile says. It lies between libp2p
 * and the socket, so that handshakes, windows and pings are delayed like frames. Both ends have to emulate, since each
 * delays what it sends. The code that is tested knows nothing of it.
 *
 * @example
 * ```ts
 * const links = emulate(profileNamed('world'))
 * const provider = await startProvider({ ..., profile: 'world' })
 * ...
 * links.profile = profileNamed('none') // at any time, also for connections that there are
 * ```
 *
 * @packageDocumentation
 */
import type { Server, Socket } from 'node:net'
import { tcp } from '@libp2p/tcp'
import { systemClock } from '../../src/common/index.ts'
import { randomOf } from '../models/random.ts'
import { PROFILES, type ProfileName, type WanProfile } from './profiles.ts'
import { sendThrough } from './socket.ts'
import { Uplink } from './uplink.ts'

export { delayOf, PROFILES, type ProfileName, profileNamed, type WanProfile } from './profiles.ts'

/** What is reached for in @libp2p/tcp 11: a test fails when an upgrade moves it. */
interface Tcp {
  _connect(address: unknown, options: { readonly signal: AbortSignal }): Promise<Socket>
  createListener(options: unknown): { readonly server: Server }
}

const links: { profile: WanProfile } = { profile: PROFILES.none }
/** One per node, whose transport is the key. */
const uplinks = new WeakMap<object, Uplink>()
let count = 0
let isInstalled = false

/** For the rest of this process's life; `profile` may be changed at any time. */
export function emulate(profile: WanProfile): { profile: WanProfile } {
  if (!isInstalled) install()
  links.profile = profile
  return links
}

/** How to start a process of Node's whose links are emulated; undefined: they are not. */
export function wanChild(profile: ProfileName | undefined): { execArgv: string[]; env: NodeJS.ProcessEnv } {
  if (profile === undefined) return { execArgv: [], env: process.env }
  const preload = new URL('preload.ts', import.meta.url).href
  return { execArgv: ['--import', preload], env: { ...process.env, SHOAL_WAN: profile } }
}

function uplinkOf(transport: object): Uplink {
  let uplink = uplinks.get(transport)
  if (uplink === undefined) {
    const random = randomOf(`uplink ${count++}`)
    uplink = new Uplink({ clock: systemClock, random }, () => links.profile)
    uplinks.set(transport, uplink)
  }
  return uplink
}

function install(): void {
  isInstalled = true
  const logger = { forComponent: () => () => {} }
  const prototype = Object.getPrototypeOf(tcp()({ logger } as never)) as Tcp
  const { _connect, createListener } = prototype
  prototype._connect = async function (address, options) {
    const uplink = uplinkOf(this)
    // SYN and its answer, whichever that is.
    const answer = await _connect.call(this, address, options).catch((error: Error) => error)
    if (answer instanceof Error) {
      await later(links.profile.rttMs)
      throw answer
    }
    answer.on('error', () => {}) // who uses it listens only once it has it
    await later(links.profile.rttMs)
    if (options.signal.aborted) {
      answer.destroy()
      options.signal.throwIfAborted()
    }
    sendThrough(uplink, answer)
    return answer
  }
  prototype.createListener = function (options) {
    const listener = createListener.call(this, options)
    const uplink = uplinkOf(this)
    const { server } = listener
    const emit = server.emit.bind(server)
    server.emit = (event: string, ...args: unknown[]) => {
      if (event !== 'connection') return emit(event, ...args)
      const socket = args[0] as Socket
      socket.on('error', () => {})
      // The SYN, its answer, and the first bytes or the answer's acknowledgement.
      void later(links.profile.rttMs * 1.5).then(() => {
        sendThrough(uplink, socket)
        emit(event, socket)
      })
      return true
    }
    return listener
  }
}

function later(ms: number): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>()
  if (ms === 0) resolve()
  else systemClock.after(ms, resolve)
  return promise
}
