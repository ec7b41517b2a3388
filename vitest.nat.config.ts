/** `npm run test:nat`: nodes behind routers, in network namespaces. It takes root, iproute2 and nftables. */
import { configDefaults, defineConfig } from 'vitest/config'
import config from './vitest.config.ts'

const { exclude } = configDefaults
// No gate for dials: in the namespaces there is nobody else. Once more, since handshakes have deadlines of their own
// that a busy machine misses.
export default defineConfig({
  test: { ...config.test, include: ['test/nat/**/*.test.ts'], exclude, setupFiles: [], retry: 1 }
})
