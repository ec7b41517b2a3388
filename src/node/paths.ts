import envPaths from 'env-paths'

/** Where identity and model files are kept unless told otherwise (XDG on Linux). */
export function dataFolder(): string {
  return envPaths('shoal', { suffix: '' }).data
}
