import { join } from 'node:path'
import envPaths from 'env-paths'

/** Where identity and model files are kept unless told otherwise (XDG on Linux). */
export function dataFolder(): string {
  return envPaths('shoal', { suffix: '' }).data
}

/** Where the nodes of this user on this machine find each other; a test's have a folder of their own. */
export function neighboursFolder(): string {
  return process.env.SHOAL_NEIGHBOURS ?? join(envPaths('shoal', { suffix: '' }).temp, 'nodes')
}
