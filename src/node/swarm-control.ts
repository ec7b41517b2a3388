/** Private swarms, as a page joins them and invites others. A running node takes part from its next start on. */
import { ShoalError } from '../common/index.ts'
import type { InviteReport, InviteRequest, SwarmMembership } from '../gateway/index.ts'
import { likelyAddresses } from './host-init.ts'
import { invite, joinPrivate } from './invitation.ts'
import type { Node } from './node.ts'
import { joinPublic } from './swarm-file-changes.ts'

const WEEK_S = 7 * 86_400
/** Telling others what to host is for few. */
const DEFAULT_ROLES = ['consumer', 'provider', 'seeder'] as const

export async function inviteFor(
  node: Node,
  folder: string,
  { name, roles = [...DEFAULT_ROLES], expiresSeconds = WEEK_S, uses = 1 }: InviteRequest
): Promise<InviteReport> {
  const { kind } = node.facts.swarm
  // Until it takes part in a swarm it listens on this machine only.
  const likely = kind === 'local' ? likelyAddresses() : []
  const addresses = likely.length > 0 ? likely : node.host.addresses
  const made = await invite(folder, { name, uses, roles, expiresInMs: expiresSeconds * 1_000, addresses })
  return {
    ...{ token: made.token, swarm: made.swarm.name, uses, isNew: made.isNew },
    expires: new Date(made.expires).toISOString(),
    needsRestart: kind !== 'private',
    isLocal: addresses.every((address) => /^\/(ip4\/127\.|ip6\/::1\/)/.test(address))
  }
}

/** `public` is a token, too. Throws what joining throws, and a ShoalError OFFLINE. */
export async function joinWithToken(
  folder: string,
  token: string,
  { offline, signal }: { readonly offline: boolean; readonly signal: AbortSignal }
): Promise<SwarmMembership> {
  if (token === 'public') {
    await joinPublic(folder)
    return { kind: 'public' }
  }
  if (offline) {
    throw new ShoalError('OFFLINE', 'The node that invites has to be asked, and --offline forbids it.')
  }
  const { name } = await joinPrivate(folder, token, { signal })
  return { kind: 'private', name }
}
