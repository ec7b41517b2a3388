import { Command } from 'commander'
import { dataFolder, type StoredEntry, storedModels } from '../node/index.ts'
import { type ConsumerOptions, withLibrary } from './consumer.ts'
import { storeOption } from './options.ts'
import { note } from './output.ts'
import { plain } from './status.ts'
import { ranges, size, table, time } from './units.ts'

interface ListOptions extends ConsumerOptions {
  readonly json?: boolean
}

export function listCommand(): Command {
  return new Command('list')
    .alias('ls')
    .description('The models in the store, those used last first.')
    .addOption(storeOption())
    .option('--data-dir <folder>', 'the folder of the node, as "shoal up" was given it', dataFolder())
    .option('--json', 'print a JSON array')
    .action((options: ListOptions) =>
      withLibrary(options, (library) => storedModels(library).then(print(options)))
    )
}

function print({ json }: ListOptions): (entries: readonly StoredEntry[]) => void {
  return (entries) => {
    if (json) return console.log(JSON.stringify(entries.map(asJson)))
    if (entries.length === 0) return note('Nothing is here yet. "shoal pull MODEL" fetches a model.')
    const rows = [['NAME', 'ID', 'SIZE', 'BLOCKS', 'USED'], ...entries.map(rowOf)]
    for (const line of table(rows)) console.log(line)
  }
}

function asJson({ id, called, names, bytes, bytesThere, blocks, blockCount, ...rest }: StoredEntry): object {
  const { architecture, isHashed, lastUsed } = rest
  return {
    ...{
      id,
      name: called,
      names,
      architecture,
      bytes,
      bytes_there: bytesThere,
      blocks,
      block_count: blockCount
    },
    ...{ hashed: isHashed, last_used: lastUsed === undefined ? null : new Date(lastUsed).toISOString() }
  }
}

function rowOf({ id, called, bytes, bytesThere, blocks, blockCount, lastUsed }: StoredEntry): string[] {
  const isWhole = bytesThere === bytes
  return [
    plain(called),
    id.slice(0, 12),
    isWhole ? size(bytes) : `${size(bytesThere)} of ${size(bytes)}`,
    blocks.length === blockCount ? `all ${blockCount}` : `${ranges(blocks) || 'none'} of ${blockCount}`,
    lastUsed === undefined ? 'never' : `${time(Math.max(0, Date.now() - lastUsed) / 1000)} ago`
  ]
}
