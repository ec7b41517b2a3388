/** `npm run test:web`: the pages in a browser, against a swarm. It takes Chromium. */
import { configDefaults, defineConfig } from 'vitest/config'
import config from './vitest.config.ts'

const { exclude } = configDefaults
export default defineConfig({
  test: { ...config.test, include: ['test/web/**/*.test.ts'], exclude, globalSetup: 'test/web/build.ts' }
})
