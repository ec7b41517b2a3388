/** What the commands' flags have in common. */

import { availableParallelism } from 'node:os'
import { fileURLToPath } from 'node:url'
import { type Multiaddr, multiaddr } from '@multiformats/multiaddr'
import { InvalidArgumentError, Option } from 'commander'
import type { KvType } from '../engine/index.ts'
import { resolveName } from '../models/index.ts'
import { ROW_CODECS } from '../net/index.ts'
import type { CodecChoice } from '../session/index.ts'

export const DEMO_MODEL = fileURLToPath(new URL('../../models/demo.gguf', import.meta.url))

/** Where programs look for the API; see docs/GATEWAY.md. */
export const API_PORT = 8642

export function integer(low: number, high: number): (text: string) => number {
  return (text) => {
    const value = Number(text)
    if (!Number.isInteger(value) || value < low || value > high) {
      throw new InvalidArgumentError(`It must be an integer from ${low} to ${high}.`)
    }
    return value
  }
}

export function decimal(low: number, high: number): (text: string) => number {
  return (text) => {
    const value = Number(text)
    if (text.trim() === '' || !(value >= low && value <= high)) {
      throw new InvalidArgumentError(`It must be a number from ${low} to ${high}.`)
    }
    return value
  }
}

/** Less than this would take a day for a block. */
const LEAST_RATE = 1_000
const UNITS: Readonly<Record<string, number>> = {
  ...{ B: 1, KB: 1e3, MB: 1e6, GB: 1e9, TB: 1e12 },
  ...{ KIB: 2 ** 10, MIB: 2 ** 20, GIB: 2 ** 30, TIB: 2 ** 40 }
}

/** An amount of memory or disk, such as 8GiB or 500MB. */
export function bytes(text: string): number {
  const [, number, unit] = /^(\d+(?:\.\d+)?) ?([a-z]+)?$/i.exec(text.trim()) ?? []
  const factor = UNITS[(unit ?? 'B').toUpperCase()]
  if (number === undefined || factor === undefined) {
    throw new InvalidArgumentError('It must be an amount with its unit, such as 8GiB or 500MB.')
  }
  return Math.floor(Number(number) * factor)
}

/** Bytes per second, such as 2MB or 500KB/s. */
export function rate(text: string): number {
  const value = bytes(text.replace(/\/s(?:ec)?$/i, ''))
  if (value >= LEAST_RATE) return value
  throw new InvalidArgumentError('It must be at least 1KB per second, such as 2MB.')
}

/** `a-b`: from block a up to, not including, block b. */
export function blocks(text: string): { start: number; end: number } {
  const [, start, end] = /^(\d{1,4})-(\d{1,4})$/.exec(text) ?? []
  if (start === undefined || Number(start) >= Number(end)) {
    throw new InvalidArgumentError('It must be START-END, such as 0-8 for the first eight blocks.')
  }
  return { start: Number(start), end: Number(end) }
}

/** A range of blocks, or all that there are. */
export function blocksOrAll(text: string): { start: number; end: number } | 'all' {
  return text === 'all' ? text : blocks(text)
}

/** A multiaddr, and those given before. */
export function addresses(text: string, previous: readonly string[] = []): string[] {
  let address: Multiaddr
  try {
    address = multiaddr(text)
  } catch {
    throw new InvalidArgumentError('It must be a multiaddr, such as /ip4/127.0.0.1/tcp/8643.')
  }
  return [...previous, address.toString()]
}

export function collect(value: string, previous: readonly string[] = []): string[] {
  return [...previous, value]
}

const KV_TYPES: readonly KvType[] = ['f16', 'f32', 'bf16', 'q8_0', 'q4_0']

export function kvTypeOption(): Option {
  return new Option('--kv-type <type>', 'how the KV cache is stored').choices(KV_TYPES).default('f16')
}

/** For work that has the machine to itself. */
export function threadsOption(): Option {
  return new Option('--threads <count>', 'threads')
    .argParser(integer(1, 1024))
    .default(availableParallelism(), 'one per core')
}

export function peerOption(): Option {
  return new Option('--peer <address>', 'a node to connect to (may be given several times)')
    .argParser(addresses)
    .default([], 'none')
}

const CODEC_CHOICES: readonly CodecChoice[] = ['auto', ...ROW_CODECS]

export function codecOption(): Option {
  const what =
    'what hidden states travel in between nodes; "auto": the smallest that was certified with the model'
  return new Option('--codec <codec>', what).choices(CODEC_CHOICES).default('f32')
}

/** Of codecs that lose something, by commas. */
export function codecNames(text: string): string[] {
  const names = [...new Set(text.split(',').map((name) => name.trim()))].filter((name) => name !== '')
  const lossy: readonly string[] = ROW_CODECS.filter((codec) => codec !== 'f32')
  if (names.every((name) => lossy.includes(name))) return names
  throw new InvalidArgumentError(`They must be some of ${lossy.join(', ')}.`)
}

export function draftOption(): Option {
  return new Option(
    '--draft <model>',
    'a small model with the same tokenizer that writes ahead, fetched if need be; "none": none (default: the one that ' +
      'the catalogue names, where it is here already)'
  ).argParser(draftName)
}

function draftName(text: string): string {
  try {
    if (text !== 'none') resolveName(text)
    return text
  } catch (error) {
    throw new InvalidArgumentError((error as Error).message)
  }
}

export function noSpeculationOption(): Option {
  return new Option(
    '--no-speculation',
    'guess nothing ahead; the text is the same, over long ways it comes slower'
  )
}

export function storeOption(): Option {
  return new Option(
    '--store <folder>',
    'where models are kept, for any number of nodes (default: "store" in --data-dir)'
  )
}

export function uploadOption(): Option {
  return new Option(
    '--upload <rate>',
    'most bytes per second of pieces for others, such as 2MB (default: no limit)'
  ).argParser(rate)
}

/** The last characters tell peer ids apart; the first are the same for all. */
export function shortPeer(peer: string): string {
  return peer.slice(-8)
}
