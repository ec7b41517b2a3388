import { Command } from 'commander'
import { LIBRARIES, VERSION } from '../common/index.ts'

export function versionCommand(): Command {
  return new Command('version')
    .description('The versions of Shoal and of what it stands on.')
    .action(({ json }: { readonly json?: boolean }) => {
      const all = {
        ...{ shoal: VERSION, node: process.versions.node, libp2p: LIBRARIES.libp2p },
        ...{ 'node-llama-cpp': LIBRARIES.llama, platform: `${process.platform}-${process.arch}` }
      }
      if (json) return console.log(JSON.stringify(all))
      for (const [name, version] of Object.entries(all)) console.log(`${name} ${version}`)
    })
}
