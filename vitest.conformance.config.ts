/** `npm run test:conformance`: what the official clients of others make of the gateway. */
import { defineConfig } from 'vitest/config'
import config from './vitest.config.ts'

export default defineConfig({ test: { ...config.test, include: ['test/conformance/**/*.test.ts'] } })
