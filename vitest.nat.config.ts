/** `npm run test:nat`: nodes behind routers, in network namespaces. It takes root, iproute2 and nftables. */
import { configDefaults, defineConfig } from 'vitest/config'
import config from './vitest.config.ts'

const { exclude } = configDefaults
// No gate for dials: in the namespaces there is nobody else.
export default defineConfig({
  test: { ...config.test, include: ['test/nat/**/*.test.ts'], exclude, setupFiles: [] }
})
