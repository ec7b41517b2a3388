#!/usr/bin/env node
import module from 'node:module'
import { join } from 'node:path'
import { setFlagsFromString } from 'node:v8'

// Plain JavaScript of an old kind, so that an old Node gets this far and can say what is missing.
const major = Number(process.versions.node.split('.')[0])
if (major < 24) {
  console.error(
    `Shoal needs Node 24 or newer, and this is ${process.versions.node}. Its own copy comes with npm: ` +
      'run "npm ci" once, then "npm run shoal -- ARGUMENTS" in its folder.'
  )
  process.exit(1)
}
// A node's young objects are frames that die at once: room for more of them is memory that nobody else can use.
setFlagsFromString('--semi-space-growth-factor=1')
// Half of what a start costs is to compile what was compiled before. The engine's process does as its parent's says.
const cache = join(import.meta.dirname, '../node_modules/.cache/shoal')
process.env.NODE_COMPILE_CACHE ??= module.enableCompileCache(cache).directory ?? cache
import('../src/cli/main.ts')
