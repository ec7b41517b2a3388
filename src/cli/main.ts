import { Command, CommanderError } from 'commander'
import { ShoalError, VERSION } from '../common/index.ts'
import { allowCommand, blockCommand } from './block.ts'
import { certifyCommand } from './certify.ts'
import { demoCommand } from './demo.ts'
import { doctorCommand } from './doctor.ts'
import { evalCommand } from './eval.ts'
import { finishCommand } from './finish.ts'
import { inviteCommand } from './invite.ts'
import { joinCommand } from './join.ts'
import { leaveCommand } from './leave.ts'
import { UsageError } from './lifetime.ts'
import { listCommand } from './list.ts'
import { netcheckCommand } from './netcheck.ts'
import { planCommand } from './plan.ts'
import { publishCommand } from './publish.ts'
import { pullCommand } from './pull.ts'
import { quantizeCommand } from './quantize.ts'
import { rmCommand } from './rm.ts'
import { runCommand } from './run.ts'
import { seedCommand } from './seed.ts'
import { showCommand } from './show.ts'
import { peersCommand, statusCommand } from './status.ts'
import { upCommand } from './up.ts'
import { verifyCommand } from './verify.ts'

/** Exit codes: 0 done, 1 it failed, 2 the command line is wrong. */
const FAILED = 1
const USAGE = 2

// Whoever reads our output may have seen enough, such as "head".
process.stdout.on('error', (error: NodeJS.ErrnoException) =>
  process.exit(error.code === 'EPIPE' ? 0 : FAILED)
)

const program = new Command('shoal')
  .description('Run open-weight language models together, peer to peer.')
  .version(VERSION)
  .showHelpAfterError('(see --help)')
  .configureHelp({ showGlobalOptions: true })

const commands = [
  ...[upCommand(), runCommand(), statusCommand(), doctorCommand(), peersCommand()],
  ...[netcheckCommand(), finishCommand()],
  ...[pullCommand(), listCommand(), showCommand(), rmCommand(), verifyCommand()],
  ...[seedCommand(), publishCommand()],
  ...[joinCommand(), leaveCommand(), inviteCommand(), allowCommand(), blockCommand()],
  ...[planCommand(), certifyCommand(), quantizeCommand(), evalCommand(), demoCommand()]
]
for (const command of commands) {
  program.addCommand(command.showHelpAfterError('(see --help)').exitOverride())
}

try {
  await program.exitOverride().parseAsync()
} catch (error) {
  if (error instanceof CommanderError) {
    process.exitCode = error.exitCode === 0 ? 0 : USAGE
  } else {
    process.exitCode = error instanceof UsageError ? USAGE : FAILED
    const known = error instanceof ShoalError || (error instanceof Error && 'code' in error)
    console.error(known ? `error: ${(error as Error).message}` : error)
  }
}
