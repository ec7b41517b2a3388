// A run that has to fail: see dial-gate.test.ts. 192.0.2.0/24 is nobody's (RFC 5737).
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { connect } from 'node:net'
import { test } from 'vitest'

test('itself dials, and takes what is thrown for a peer that is down', () => {
  try {
    connect(80, '192.0.2.1').on('error', () => {})
  } catch {}
})

test('a process that it starts dials, and nobody looks at how it ended', async () => {
  const script = `require('net').connect(80, '192.0.2.2').on('error', () => {})`
  await once(spawn(process.execPath, ['-e', script], { stdio: 'ignore' }), 'exit')
})

test('nobody dials', () => {})
