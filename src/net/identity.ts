// The node's Ed25519 key, in one file that only its owner can read.
import { generateKeyPairSync, randomUUID } from 'node:crypto'
import {
  closeSync,
  fsyncSync,
  linkSync,
  openSync,
  readFileSync,
  statSync,
  unlinkSync,
  writeSync
} from 'node:fs'
import { dirname } from 'node:path'
import { privateKeyFromProtobuf, privateKeyFromRaw, privateKeyToProtobuf } from '@libp2p/crypto/keys'
import type { PrivateKey } from '@libp2p/interface'
import { peerIdFromString } from '@libp2p/peer-id'
import { makeFolder } from '../common/index.ts'
import { NetError } from './errors.ts'
import type { HostIdentity } from './types.ts'

const FILE_MODE = 0o600
const DIRECTORY_MODE = 0o700
const OTHERS = 0o077
/** libp2p's protobuf of an Ed25519 key has 68 bytes; a larger file is something else. */
const MAX_KEY_BYTES = 1_024

/** Throws {@link NetError} IDENTITY when there is a key file that cannot be used, or none can be made. */
export function loadIdentity(identity: HostIdentity): PrivateKey {
  if ('ephemeral' in identity) return generate()
  if ('privateKey' in identity) return parse(identity.privateKey, 'the private key given')
  const path = identity.keyPath
  try {
    return read(path) ?? createFile(path)
  } catch (cause) {
    if (cause instanceof NetError) throw cause
    const advice = 'make its folder yours, or use another one'
    throw new NetError('IDENTITY', `cannot create ${path}: ${(cause as Error).message} (${advice})`, {
      cause
    })
  }
}

/** Whether the peer signed these bytes; false also for a peer id that holds no Ed25519 key. */
export async function verify(peer: string, bytes: Uint8Array, signature: Uint8Array): Promise<boolean> {
  try {
    const id = peerIdFromString(peer)
    return id.type === 'Ed25519' && (await id.publicKey.verify(bytes, signature))
  } catch {
    return false
  }
}

function generate(): PrivateKey {
  const { d, x } = generateKeyPairSync('ed25519').privateKey.export({ format: 'jwk' })
  return privateKeyFromRaw(Buffer.concat([Buffer.from(d!, 'base64url'), Buffer.from(x!, 'base64url')]))
}

function parse(bytes: Uint8Array, what: string): PrivateKey {
  try {
    const key = privateKeyFromProtobuf(bytes)
    if (key.type === 'Ed25519') return key
  } catch (cause) {
    throw unusable(what, cause)
  }
  throw unusable(what)
}

function unusable(what: string, cause?: unknown): NetError {
  const advice = 'restore it from a backup, or move it away to start with a new identity'
  return new NetError('IDENTITY', `${what} does not hold an Ed25519 key: ${advice}`, { cause })
}

function read(path: string): PrivateKey | undefined {
  let stat: ReturnType<typeof statSync>
  try {
    stat = statSync(path)
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code === 'ENOENT') return undefined
    throw new NetError('IDENTITY', `cannot look at ${path}: ${(cause as Error).message}`, { cause })
  }
  // Windows has no such modes: the profile folder's access list protects the file.
  if (process.platform !== 'win32' && (stat.mode & OTHERS) !== 0) {
    throw new NetError(
      'IDENTITY',
      `${path} can be read by other users of this machine: run chmod 600 ${path}`
    )
  }
  if (!stat.isFile() || stat.size > MAX_KEY_BYTES) throw unusable(path)
  try {
    return parse(readFileSync(path), path)
  } catch (cause) {
    if (cause instanceof NetError) throw cause
    throw new NetError('IDENTITY', `cannot read ${path}: ${(cause as Error).message}`, { cause })
  }
}

/** Written whole under another name first, so that a crash leaves no half key and two starts get one key. */
function createFile(path: string): PrivateKey {
  makeFolder(dirname(path), DIRECTORY_MODE)
  const temporary = `${path}.${randomUUID()}`
  const key = generate()
  const file = openSync(temporary, 'wx', FILE_MODE)
  try {
    writeSync(file, privateKeyToProtobuf(key))
    fsyncSync(file)
  } finally {
    closeSync(file)
  }
  try {
    linkSync(temporary, path)
    return key
  } catch (cause) {
    const other = (cause as NodeJS.ErrnoException).code === 'EEXIST' ? read(path) : undefined
    if (other !== undefined) return other
    throw cause
  } finally {
    unlinkSync(temporary)
  }
}
