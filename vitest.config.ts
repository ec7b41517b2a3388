import { defineConfig } from 'vitest/config'

export default defineConfig({
  test: {
    include: ['src/**/*.test.ts', 'test/**/*.test.ts'],
    setupFiles: ['test/dial-gate/setup.ts'],
    // Engines are processes with two threads each: files run one after the other so that timings mean something.
    fileParallelism: false,
    testTimeout: 60_000,
    hookTimeout: 60_000
  }
})
