import { globSync, readFileSync, writeFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { brotliCompressSync, constants, gzipSync } from 'node:zlib'
import type { Plugin } from 'vite'

/** Smaller ones fit a packet or two as they are. */
const MIN_BYTES = 1_024
/** The best (11) takes ten seconds longer for a tenth of the size. */
const QUALITY = 9

/** Puts `.br` and `.gz` beside each file of text, so that the gateway sends what is there. */
export function compress(): Plugin {
  let folder = ''
  return {
    name: 'shoal-compress',
    apply: 'build',
    configResolved: (config) => {
      folder = resolve(config.root, config.build.outDir)
    },
    closeBundle: () => {
      for (const name of globSync('**/*.{js,css,html,svg,json}', { cwd: folder })) {
        const path = join(folder, name)
        const bytes = readFileSync(path)
        if (bytes.length < MIN_BYTES) continue
        const params = { [constants.BROTLI_PARAM_QUALITY]: QUALITY }
        writeFileSync(`${path}.br`, brotliCompressSync(bytes, { params }))
        writeFileSync(`${path}.gz`, gzipSync(bytes, { level: 9 }))
      }
    }
  }
}
