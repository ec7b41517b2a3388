import { Command, InvalidArgumentError } from 'commander'
import { changeList, dataFolder } from '../node/index.ts'
import { note } from './output.ts'

interface ListOptions {
  readonly remove?: boolean
  readonly dataDir: string
  readonly json?: boolean
}

export function blockCommand(): Command {
  return listCommand(
    'block',
    'Refuse all connections with peers, both ways. Without peers: print who is blocked.'
  )
}

export function allowCommand(): Command {
  return listCommand(
    'allow',
    'Have nothing to do with others than the peers on this list, once there are any. Without peers: print it.'
  )
}

function listCommand(list: 'allow' | 'block', description: string): Command {
  return new Command(list)
    .description(description)
    .argument('[peers...]', 'peer ids', peers)
    .option('--remove', 'take them off the list')
    .option('--data-dir <folder>', 'the folder of the node, as "shoal up" was given it', dataFolder())
    .option('--json', 'print the list as a JSON array')
    .action(async (peers: string[] = [], { remove, dataDir, json }: ListOptions) => {
      const listed = await changeList(dataDir, list, remove ? { remove: peers } : { add: peers })
      if (json) console.log(JSON.stringify(listed))
      else for (const peer of listed) console.log(peer)
      if (!json && peers.length > 0) note('A node that runs now goes by it from its next start on.')
    })
}

function peers(text: string, previous: readonly string[] = []): string[] {
  if (/^12D3KooW\w{44}$/.test(text)) return [...previous, text]
  throw new InvalidArgumentError('It must be a peer id, such as "shoal peers" prints: 12D3KooW and 44 more.')
}
