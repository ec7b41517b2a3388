/** How a private swarm is made, and how other machines, and processes, come to it. */
import { randomBytes } from 'node:crypto'
import { join } from 'node:path'
import { type Clock, makeFolder, ShoalError, systemClock } from '../common/index.ts'
import { createHost, type Host, type HostInit, NetError } from '../net/index.ts'
import {
  checkCertificate,
  decodeToken,
  encodeToken,
  type Issue,
  issueCertificate,
  ROLES,
  type Role,
  signGrant,
  swarmId,
  type Token,
  TokenError
} from '../swarm/index.ts'
import { type PrivateSwarm, readSwarmFile, type SwarmFile, writeSwarmFile } from './swarm-file.ts'

const KEY_BYTES = 32
const ID_BYTES = 12
/** What a token holds of the founder's addresses: enough for a LAN, a public address and a relay of both kinds. */
const MAX_ADDRESSES = 8
/** To find the founder and be answered: it may take a relay to reach it. */
const ADMIT_MS = 30_000
/** Longer than anybody waits for an answer. */
const DEPUTY_MS = 24 * 3_600_000

export interface InviteInit {
  /** Of a swarm that is to be made; the present one's otherwise. */
  readonly name?: string | undefined
  readonly roles: readonly Role[]
  readonly expiresInMs: number
  /** How many machines may come with it. */
  readonly uses: number
  /** Where others reach this machine: multiaddrs, at least one. */
  readonly addresses: readonly string[]
}

export interface Invitation {
  readonly token: string
  readonly swarm: PrivateSwarm
  /** Milliseconds since 1970. */
  readonly expires: number
  /** This made the swarm. */
  readonly isNew: boolean
}

/** Throws `ShoalError` JOINED where the machine has joined what somebody else made. */
export async function invite(
  folder: string,
  init: InviteInit,
  clock: Clock = systemClock
): Promise<Invitation> {
  const { roles, uses } = init
  const host = await identity(folder)
  const file = await readSwarmFile(folder)
  const isNew = file.kind === 'local'
  const swarm = isNew ? await found(host, file, init.name, clock) : owned(file, host.peerId, init.name)
  const addresses = init.addresses.slice(0, MAX_ADDRESSES).map((address) => without(address, host.peerId))
  const expires = clock.wall() + init.expiresInMs
  const id = randomBytes(ID_BYTES).toString('base64url')
  const grant = await signGrant({ id, roles: [...roles], expires, uses }, swarmId(swarm.key), (bytes) =>
    host.sign(bytes)
  )
  const { name, key, founder } = swarm
  const token = encodeToken({ name, key, founder, addresses, grant })
  if (isNew) await writeSwarmFile(folder, swarm)
  return { token, swarm, expires, isNew }
}

async function found(
  host: Host,
  { allow, block }: SwarmFile,
  name: string | undefined,
  clock: Clock
): Promise<PrivateSwarm> {
  const key = randomBytes(KEY_BYTES)
  const swarm = swarmId(key)
  const issue = { peer: host.peerId, roles: ROLES, issued: clock.wall() }
  return {
    ...{
      kind: 'private',
      name: name ?? `swarm-${swarm.slice(0, 6)}`,
      key,
      founder: host.peerId,
      addresses: []
    },
    ...{ certificate: await issueCertificate(issue, swarm, (bytes) => host.sign(bytes)), allow, block }
  }
}

function owned(file: SwarmFile, peer: string, name: string | undefined): PrivateSwarm {
  if (file.kind !== 'private') {
    throw joined(
      'This machine is in the public swarm, where nobody needs an invitation: "shoal leave" first.'
    )
  }
  if (file.founder !== peer) {
    throw joined(`Only the machine that made the swarm ${file.name} invites others: ask whoever runs it.`)
  }
  if (name !== undefined && name !== file.name) {
    throw joined(`This machine has made the swarm ${file.name} already: invite without --name.`)
  }
  return file
}

/**
 * Shows the token's grant to the founder's node, which has to be up. Throws a TokenError for a token that can't be
 * used, `ShoalError` JOINED where the machine is in another swarm, FOUNDER when the founder can't be reached, REFUSED
 * when it does not admit this machine, and the signal's reason.
 */
export async function joinPrivate(
  folder: string,
  text: string,
  { signal, clock = systemClock }: { signal?: AbortSignal; clock?: Clock } = {}
): Promise<PrivateSwarm> {
  const token = decodeToken(text)
  const { says } = token
  if (says.expires <= clock.wall()) {
    throw new TokenError(
      `This invitation expired at ${new Date(says.expires).toISOString()}: ask for another.`
    )
  }
  const file = await readSwarmFile(folder)
  if (file.kind === 'public' || (file.kind === 'private' && swarmId(file.key) !== swarmId(token.key))) {
    throw joined('This machine is in another swarm: "shoal leave" first.')
  }
  const addresses = token.addresses.map((address) => `${address}/p2p/${token.founder}`)
  const host = await identity(folder, {
    preSharedKey: token.key,
    nat: {}, // the founder may be behind a relay
    // What the person has asked for, and nothing else; a relay's address is the beginning of those behind it.
    dialGate: (address) => addresses.some((asked) => `${asked}/`.startsWith(`${address}/`))
  })
  if (host.peerId === token.founder) throw joined('This machine made that swarm: it is in it already.')
  await host.start()
  try {
    const certificate = await joinWith(token, host, signal)
    const { name, key, founder } = token
    const { allow, block } = file
    const swarm: PrivateSwarm = {
      ...{ kind: 'private', name, key, founder, addresses, certificate, allow, block }
    }
    await writeSwarmFile(folder, swarm)
    return swarm
  } finally {
    await host.stop()
  }
}

/** The certificate that the founder gives for the token's grant. The host must have the token's key. */
export async function joinWith(
  token: Token,
  host: Pick<Host, 'ask' | 'peerId'>,
  signal?: AbortSignal
): Promise<Uint8Array> {
  const { founder, key, name, grant, addresses } = token
  const deadline = AbortSignal.timeout(ADMIT_MS)
  const either = signal === undefined ? deadline : AbortSignal.any([signal, deadline])
  const answer = await host
    .ask(founder, [...addresses], { type: 'admit', grant }, either)
    .catch((cause: Error) => {
      signal?.throwIfAborted()
      throw unreachable(token, cause)
    })
  if (answer.type === 'admit' && answer.certificate.byteLength > 0) {
    const certified = checkCertificate(answer.certificate, { id: swarmId(key), founder })
    if (certified?.peer === host.peerId) return answer.certificate
  }
  const reason = 'message' in answer && answer.message !== '' ? answer.message : 'its answer makes no sense'
  throw new ShoalError(
    'REFUSED',
    `The founder of ${name} does not admit this machine: ${printable(reason)}. Ask for another invitation.`
  )
}

function unreachable({ name, founder, addresses }: Token, cause: Error): ShoalError {
  const why = cause instanceof NetError || cause.name === 'TimeoutError' ? '' : ` (${cause.message})`
  return new ShoalError(
    'FOUNDER',
    `The machine that made the swarm ${name} does not answer at ${addresses.join(', ')}${why}. It has to be up ` +
      `("shoal up", started after the swarm was made) while somebody joins. If it is, this invitation may be for ` +
      `a key or an address that it no longer has: ask for another. Its peer id is ${founder}.`,
    { cause }
  )
}

/**
 * The swarm for a process that has another key than the folder's node, such as a consumer that comes and goes beside
 * it. The folder's key certifies it for a day, for what the
 * folder's node may do of it: to consume, and to plan.
 */
export async function deputise(
  folder: string,
  swarm: PrivateSwarm,
  deputy: string,
  clock: Clock = systemClock
): Promise<PrivateSwarm> {
  const member = await identity(folder)
  const issued = clock.wall()
  const issue: Issue = {
    ...{ peer: deputy, roles: ['consumer', 'planner'], issued },
    deputy: { of: swarm.certificate, expires: issued + DEPUTY_MS }
  }
  return {
    ...swarm,
    certificate: await issueCertificate(issue, swarmId(swarm.key), (bytes) => member.sign(bytes))
  }
}

/** Whether this machine made the swarm. */
export async function isFounder(folder: string, { founder }: PrivateSwarm): Promise<boolean> {
  return (await identity(folder)).peerId === founder
}

/** A host with the folder's key, which may be in use by a node at the same time: it signs, and dials a little. */
async function identity(
  folder: string,
  init: Pick<HostInit, 'preSharedKey' | 'dialGate' | 'nat'> = {}
): Promise<Host> {
  makeFolder(folder, 0o700)
  return createHost({ identity: { keyPath: join(folder, 'identity.key') }, listen: [], ...init })
}

/** Tokens name the founder once. */
function without(address: string, peer: string): string {
  const end = `/p2p/${peer}`
  return address.endsWith(end) ? address.slice(0, -end.length) : address
}

function joined(message: string): ShoalError {
  return new ShoalError('JOINED', message)
}

/** From another machine, for a terminal. */
function printable(text: string): string {
  return text.replaceAll(/\p{C}/gu, '')
}
