import { CommanderError } from 'commander'
import { ShoalError } from '../common/index.ts'
import { UsageError } from './lifetime.ts'
import { makeProgram } from './program.ts'

/** Exit codes: 0 done, 1 it failed, 2 the command line or a setting is wrong, 130 interrupted. */
const FAILED = 1
const USAGE = 2

// Whoever reads our output may have seen enough, such as "head".
process.stdout.on('error', (error: NodeJS.ErrnoException) =>
  process.exit(error.code === 'EPIPE' ? 0 : FAILED)
)

try {
  await makeProgram().parseAsync()
} catch (error) {
  if (error instanceof CommanderError) {
    process.exitCode = error.exitCode === 0 ? 0 : USAGE
  } else {
    process.exitCode = error instanceof UsageError ? USAGE : FAILED
    const known = error instanceof ShoalError || (error instanceof Error && 'code' in error)
    console.error(known ? `error: ${(error as Error).message}` : error)
  }
}
