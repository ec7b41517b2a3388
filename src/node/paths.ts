/** Where Shoal keeps what, and nothing anywhere else (XDG on Linux). */
import { join } from 'node:path'
import envPaths from 'env-paths'

const paths = (): ReturnType<typeof envPaths> => envPaths('shoal', { suffix: '' })

/** Where identity and model files are kept unless told otherwise. */
export function dataFolder(): string {
  return paths().data
}

/** What can be had again, such as the hashes of large files; shared by all nodes of this user. */
export function cacheFolder(): string {
  return paths().cache
}

/** Where the nodes of this user on this machine find each other; a test's have a folder of their own. */
export function neighboursFolder(): string {
  return process.env.SHOAL_NEIGHBOURS ?? join(paths().temp, 'nodes')
}

/** The file of settings, unless told otherwise. */
export function configFile(): string {
  return join(paths().config, 'config.toml')
}

/** What a node writes while it runs. */
export function logFile(dataDir: string): string {
  return join(dataDir, 'logs', 'node.log')
}

/** What was typed to `shoal run`. */
export function historyFile(dataDir: string): string {
  return join(dataDir, 'history')
}

/** All of them, by what they are for. */
export function places(dataDir: string): Readonly<Record<string, string>> {
  return {
    ...{ config: configFile(), data: dataDir, store: join(dataDir, 'store'), log: logFile(dataDir) },
    ...{ history: historyFile(dataDir), cache: cacheFolder(), neighbours: neighboursFolder() }
  }
}
