import { Command, CommanderError } from 'commander'
import { ShoalError, VERSION } from '../common/index.ts'
import { certifyCommand } from './certify.ts'
import { demoCommand } from './demo.ts'
import { runCommand } from './run.ts'
import { upCommand } from './up.ts'

/** Exit codes: 0 done, 1 it failed, 2 the command line is wrong. */
const FAILED = 1
const USAGE = 2

const program = new Command('shoal')
  .description('Run open-weight language models together, peer to peer.')
  .version(VERSION)
  .showHelpAfterError('(see --help)')
  .configureHelp({ showGlobalOptions: true })

for (const command of [upCommand(), runCommand(), certifyCommand(), demoCommand()]) {
  program.addCommand(command.showHelpAfterError('(see --help)').exitOverride())
}

try {
  await program.exitOverride().parseAsync()
} catch (error) {
  if (error instanceof CommanderError) {
    process.exitCode = error.exitCode === 0 ? 0 : USAGE
  } else {
    process.exitCode = FAILED
    const known = error instanceof ShoalError || (error instanceof Error && 'code' in error)
    console.error(known ? `error: ${(error as Error).message}` : error)
  }
}
