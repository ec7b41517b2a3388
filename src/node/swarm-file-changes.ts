/** What people change of `swarm.json` without anybody else's help. A running node reads it when it starts. */
import { ShoalError } from '../common/index.ts'
import { readSwarmFile, type SwarmFile, writeSwarmFile } from './swarm-file.ts'

/** Throws `ShoalError` JOINED in a private swarm. */
export async function joinPublic(folder: string): Promise<void> {
  const { kind, allow, block } = await readSwarmFile(folder)
  if (kind === 'private') {
    throw new ShoalError('JOINED', 'This machine is in a private swarm: "shoal leave" first.')
  }
  await writeSwarmFile(folder, { kind: 'public', allow, block })
}

/** The person was asked whether to join the public swarm, and does not want to. */
export async function stayLocal(folder: string): Promise<void> {
  const { allow, block } = await readSwarmFile(folder)
  await writeSwarmFile(folder, { kind: 'local', asked: true, allow, block })
}

/**
 * Back to this machine alone; gives what it was in. The allow list ends with the swarm that it was for. Who was
 * blocked stays blocked.
 */
export async function leaveSwarm(folder: string): Promise<SwarmFile> {
  const file = await readSwarmFile(folder)
  await writeSwarmFile(folder, { kind: 'local', asked: true, allow: [], block: file.block })
  return file
}

/** Puts peers on a list, or takes them off; gives the list. */
export async function changeList(
  folder: string,
  list: 'allow' | 'block',
  change: { readonly add?: readonly string[]; readonly remove?: readonly string[] }
): Promise<readonly string[]> {
  const { add = [], remove = [] } = change
  const file = await readSwarmFile(folder)
  if (add.length === 0 && remove.length === 0) return file[list]
  const peers = [...new Set([...file[list], ...add])].filter((peer) => !remove.includes(peer))
  await writeSwarmFile(folder, { ...file, [list]: peers })
  return peers
}
