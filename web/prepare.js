// npm's `prepare`: builds the pages where that can be done. Never fails: a gateway answers programs without pages, too.
import { createRequire } from 'node:module'
import { join } from 'node:path'

/** Production installs leave Vite out, and have no use for this. */
function hasVite() {
  try {
    createRequire(import.meta.url).resolve('vite/package.json')
    return true
  } catch {
    return false
  }
}

async function build() {
  const vite = await import('vite')
  await vite.build({ configFile: join(import.meta.dirname, 'vite.config.ts'), logLevel: 'error' })
}

if (hasVite()) {
  await build().catch((error) => {
    const reason = error instanceof Error ? error.message : String(error)
    console.warn(`The pages were not built, all else works; "npm run web" tries again. The reason: ${reason}`)
  })
}
process.exit(0)
