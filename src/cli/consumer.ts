import { Node, neighboursFolder, readSwarmFile } from '../node/index.ts'

/** A node that only asks, in the swarm that this machine has joined; not started yet. */
export async function consumerNode(options: {
  readonly dataDir: string
  readonly peer: readonly string[]
}): Promise<Node> {
  const { dataDir, peer: peers } = options
  return new Node({
    ...{ dataDir, listen: [], peers, ephemeral: true },
    joined: await readSwarmFile(dataDir),
    neighbours: neighboursFolder(),
    onProgress: (message, level) => {
      if (level === 'warning') console.error(`warning: ${message}`)
    }
  })
}
