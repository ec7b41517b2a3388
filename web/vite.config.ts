import tailwindcss from '@tailwindcss/vite'
import react from '@vitejs/plugin-react'
import { defineConfig } from 'vite'
import { compress } from './compress.ts'

/** Where `shoal up` listens, for `npm run web:dev`. */
const GATEWAY = process.env.SHOAL_GATEWAY ?? 'http://127.0.0.1:8642'
/** It answers its own pages only. */
const toGateway = { target: GATEWAY, changeOrigin: true, headers: { origin: GATEWAY } }

export default defineConfig({
  root: import.meta.dirname,
  plugins: [react(), tailwindcss(), compress()],
  build: {
    target: 'es2023',
    // The gateway's policy allows no inline scripts, and no images but its own and data.
    modulePreload: { polyfill: false },
    assetsInlineLimit: 0,
    reportCompressedSize: false,
    // Markdown, which comes when it is needed; build.test.ts sees to what comes first.
    chunkSizeWarningLimit: 1_000
  },
  server: { proxy: { '/v1': toGateway, '/api': toGateway, '/health': toGateway, '/openapi.json': toGateway } }
})
