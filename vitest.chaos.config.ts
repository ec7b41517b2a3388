/** `npm run test:chaos`: many rounds of every fault. */
import { defineConfig } from 'vitest/config'
import config from './vitest.config.ts'

const { SHOAL_CHAOS_ROUNDS = '10' } = process.env

export default defineConfig({
  test: {
    ...config.test,
    include: ['test/chaos/**/*.test.ts'],
    env: { ...config.test?.env, SHOAL_CHAOS_ROUNDS }
  }
})
