import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { configDefaults, defineConfig } from 'vitest/config'

/** What tests keep outside of their own folders: nothing of it is where a person's node looks. */
const apart = join(tmpdir(), `shoal-test-${process.pid}`)

export default defineConfig({
  test: {
    include: ['src/**/*.test.ts', 'test/**/*.test.ts', 'web/**/*.test.{ts,tsx}'],
    exclude: [...configDefaults.exclude, 'test/nat/**', 'test/web/**'], // `npm run test:nat`, `test:web`
    env: {
      SHOAL_NEIGHBOURS: join(apart, 'neighbours'),
      XDG_DATA_HOME: join(apart, 'data'),
      XDG_CONFIG_HOME: join(apart, 'config')
    },
    setupFiles: ['test/dial-gate/setup.ts'],
    // Engines are processes with two threads each: files run one after the other so that timings mean something.
    fileParallelism: false,
    testTimeout: 60_000,
    hookTimeout: 60_000
  }
})
