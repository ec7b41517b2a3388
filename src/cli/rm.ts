import { Command } from 'commander'
import { dataFolder, type Library, storedModel } from '../node/index.ts'
import { type ConsumerOptions, withLibrary } from './consumer.ts'
import { ask, isTerminal } from './join.ts'
import { INTERRUPTED, UsageError } from './lifetime.ts'
import { storeOption } from './options.ts'
import { plain } from './status.ts'
import { size } from './units.ts'

interface RmOptions extends ConsumerOptions {
  readonly yes?: boolean
  readonly json?: boolean
}

interface Removed {
  readonly id: string
  readonly name: string
  /** Freed. */
  readonly bytes: number
}

export function rmCommand(): Command {
  return new Command('rm')
    .description('Remove models from the store, unless a node uses them.')
    .argument('<models...>', 'as "shoal list" calls them, or the first digits of their ids')
    .option('--yes', 'without being asked')
    .addOption(storeOption())
    .option('--data-dir <folder>', 'the folder of the node, as "shoal up" was given it', dataFolder())
    .option('--json', 'print a JSON array of what was removed')
    .action((names: string[], options: RmOptions) =>
      withLibrary(options, async (library) => {
        const removed: Removed[] = []
        for (const name of names) {
          const model = await named(library, name)
          if (!options.yes && !(await isWanted(model))) return
          await (await library.store).remove(model.id)
          removed.push(model)
          if (!options.json) console.log(`removed ${plain(model.name)}, ${size(model.bytes)}`)
        }
        if (options.json) console.log(JSON.stringify(removed))
      })
    )
}

/** A whole id also where its manifest is damaged. */
async function named(library: Library, name: string): Promise<Removed> {
  try {
    const { id, called, bytesThere } = await storedModel(library, name)
    return { id, name: called, bytes: bytesThere }
  } catch (error) {
    if (!/^[0-9a-f]{64}$/.test(name)) throw error
    await (await library.store).get(name).catch((reason: { code?: string }) => {
      if (reason.code !== 'MANIFEST') throw reason
    })
    return { id: name, name, bytes: 0 }
  }
}

async function isWanted({ name, bytes }: Removed): Promise<boolean> {
  if (!isTerminal()) throw new UsageError('Nobody can be asked here: say --yes to remove it.')
  const answer = await ask(`Remove ${plain(name)}, ${size(bytes)}?`)
  if (answer === undefined) process.exitCode = INTERRUPTED
  return answer === true
}
