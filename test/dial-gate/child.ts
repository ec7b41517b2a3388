/** The gate in a process that a test has started: it ends there and then. */
import { installDialGate } from './gate.ts'
import { DENIED, record } from './record.ts'

installDialGate((attempt) => {
  const message = record(attempt)
  console.error(message)
  process.exit(DENIED)
  throw new Error(message) // in a worker thread, where exit only comes later
})
