import { join } from 'node:path'
import envPaths from 'env-paths'

const paths = (): ReturnType<typeof envPaths> => envPaths('shoal', { suffix: '' })

/** Where identity and model files are kept unless told otherwise (XDG on Linux). */
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
