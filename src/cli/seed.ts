import { Command } from 'commander'
import { aborted } from '../common/index.ts'
import { resolveName } from '../models/index.ts'
import {
  dataFolder,
  type Library,
  Node,
  neighboursFolder,
  readSwarmFile,
  storedModel,
  storedModels
} from '../node/index.ts'
import { libraryInit } from './consumer.ts'
import { Lifetime, UsageError } from './lifetime.ts'
import { addresses, peerOption, storeOption, uploadOption } from './options.ts'
import { nodeReports } from './output.ts'
import { Progress } from './progress.ts'
import { count, plain } from './status.ts'
import { size } from './units.ts'

interface SeedOptions {
  readonly upload?: number
  readonly peer: readonly string[]
  readonly listen?: string[]
  readonly store?: string
  readonly dataDir: string
  readonly json?: boolean
  readonly offline?: boolean
  readonly verbose?: boolean
}

/** What others can have pieces of. */
interface Seed {
  readonly id: string
  readonly name: string
  readonly bytes: number
}

export function seedCommand(): Command {
  return new Command('seed')
    .description(
      'Give pieces of models to others, and host nothing. "shoal up" gives what is in its store, too, so that this is ' +
        'for machines that should do no more.'
    )
    .argument('[models...]', 'models in the store, or GGUF files (default: all that is in the store)')
    .addOption(uploadOption())
    .addOption(peerOption())
    .option(
      '--listen <address>',
      'multiaddr to listen on (default: this machine only, or all addresses in a swarm)',
      addresses
    )
    .addOption(storeOption())
    .option('--data-dir <folder>', 'where identity and models are kept, for one node at a time', dataFolder())
    .option('--json', 'print one JSON object when ready')
    .action(seed)
}

async function seed(names: string[], options: SeedOptions): Promise<void> {
  const lifetime = new Lifetime()
  const { signal } = lifetime
  const given = new Set<string>()
  const node = await seedingNode(options, names.length === 0 ? undefined : given, lifetime)
  const progress = new Progress('reading')
  try {
    const seeds = await seedsOf(node.library, names, progress, signal)
    progress.end()
    if (seeds.length === 0) {
      throw new UsageError('Nothing is in the store: "shoal pull MODEL" first, or name a file.')
    }
    for (const { id } of seeds) given.add(id)
    await node.start({ signal })
    print(node, seeds, options)
    await aborted(signal)
  } catch (error) {
    if (!signal.aborted) throw error // else that is how to end it
  } finally {
    progress.end()
    await node.stop()
  }
}

async function seedingNode(
  options: SeedOptions,
  given: ReadonlySet<string> | undefined,
  lifetime: Lifetime
): Promise<Node> {
  const { upload, peer, listen, dataDir, offline } = options
  return new Node({
    ...{ dataDir, peers: peer, neighbours: neighboursFolder(), joined: await readSwarmFile(dataDir) },
    offline,
    ...(listen === undefined ? {} : { listen }),
    library: {
      ...libraryInit(options, console.error),
      uploadBytesPerSecond: upload,
      ...(given === undefined ? {} : { gives: (id: string) => given.has(id) })
    },
    ...nodeReports(options),
    onFinish: () => lifetime.finish()
  })
}

function print({ host }: Node, seeds: readonly Seed[], { json }: SeedOptions): void {
  if (json) {
    const models = seeds.map(({ id, name, bytes }) => ({ id, name, bytes }))
    console.log(JSON.stringify({ peer: host.peerId, addresses: host.addresses, models }))
    return
  }
  console.log(`node ${host.peerId}`)
  for (const address of host.addresses) console.log(`address ${address}`)
  for (const { id, name, bytes } of seeds)
    console.log(`seeds ${plain(name)} (${id.slice(0, 12)}), ${size(bytes)}`)
  console.log('Press Ctrl-C to stop.')
}

async function seedsOf(
  library: Library,
  names: readonly string[],
  progress: Progress,
  signal: AbortSignal
): Promise<Seed[]> {
  const all = names.length === 0 ? await storedModels(library) : undefined
  if (all !== undefined) {
    const idle = all.filter(({ isHashed, bytesThere }) => !isHashed && bytesThere > 0).length
    if (idle > 0) progress.say(`note: ${count(idle, 'model')} nobody has hashed: "shoal publish" does`)
    return all.filter(({ isHashed, bytesThere }) => isHashed && bytesThere > 0).map(stored)
  }
  return Promise.all(
    names.map(async (name) => {
      const path = fileOf(name)
      if (path === undefined) {
        const model = checked(name, await storedModel(library, name))
        await library.hold(model.id)
        return model
      }
      const model = await library.find(path, { signal, onProgress: progress.report })
      return { id: model.id, name: model.name, bytes: model.manifest.byteLength }
    })
  )
}

function checked(name: string, model: Parameters<typeof stored>[0] & { readonly isHashed: boolean }): Seed {
  if (model.isHashed) return stored(model)
  const advice = `"shoal publish ${name}" does; others can fetch it from where you did`
  throw new UsageError(`${name} was never hashed, so that nobody could check its pieces: ${advice}.`)
}

function stored({ id, called, bytesThere }: { id: string; called: string; bytesThere: number }): Seed {
  return { id, name: called, bytes: bytesThere }
}

/** Of a name that means a file, also the embedded one. */
function fileOf(text: string): string | undefined {
  try {
    const name = resolveName(text)
    if (name.kind === 'path') return name.path
    return name.kind === 'catalogue' && 'path' in name.from ? name.from.path : undefined
  } catch {
    return undefined
  }
}
