/** The tree of commands, as people type them. */
import { Command, Option } from 'commander'
import { VERSION } from '../common/index.ts'
import { dataFolder } from '../node/index.ts'
import { benchCommand } from './bench.ts'
import { allowCommand, blockCommand } from './block.ts'
import { certifyCommand } from './certify.ts'
import { completionCommand } from './completion.ts'
import { configCommand } from './config.ts'
import { demoCommand } from './demo.ts'
import { doctorCommand } from './doctor.ts'
import { evalCommand } from './eval.ts'
import { finishCommand } from './finish.ts'
import { gatewayCommand } from './gateway.ts'
import { inviteCommand } from './invite.ts'
import { joinCommand } from './join.ts'
import { keysCommand } from './keys.ts'
import { leaveCommand } from './leave.ts'
import { listCommand } from './list.ts'
import { logsCommand } from './logs.ts'
import { netcheckCommand } from './netcheck.ts'
import { beQuiet } from './output.ts'
import { pingCommand } from './ping.ts'
import { planCommand } from './plan.ts'
import { psCommand } from './ps.ts'
import { publishCommand } from './publish.ts'
import { pullCommand } from './pull.ts'
import { quantizeCommand } from './quantize.ts'
import { rmCommand } from './rm.ts'
import { runCommand } from './run.ts'
import { seedCommand } from './seed.ts'
import { serviceCommand } from './service.ts'
import { applySettings } from './settings.ts'
import { showCommand } from './show.ts'
import { peersCommand, statusCommand } from './status.ts'
import { upCommand } from './up.ts'
import { verifyCommand } from './verify.ts'
import { versionCommand } from './version.ts'

const EXAMPLES = `
Examples:
  shoal demo                               three nodes and an answer, on this machine
  shoal up                                 start a node
  shoal run llama3.2:1b                    talk to a model
  shoal run llama3.2:1b "Why is it blue?"  ask one question
  shoal doctor                             what is wrong here, and what to do

Every command also takes --data-dir FOLDER, --config FILE, --json, --offline, --verbose and --quiet.
"shoal COMMAND --help" says more; "shoal config" keeps what you would type again and again.`

/** By what people want, those first that a newcomer needs. */
const groups = (program: Command): Readonly<Record<string, Command[]>> => ({
  'To begin with:': [demoCommand(), upCommand(), runCommand(), statusCommand(), doctorCommand(program)],
  'Models:': [
    ...[pullCommand(), listCommand(), showCommand(), rmCommand(), verifyCommand(), seedCommand()],
    publishCommand()
  ],
  'The node of this machine:': [
    ...[psCommand(), peersCommand(), pingCommand(), netcheckCommand(), benchCommand(), logsCommand()],
    finishCommand()
  ],
  'For others, over HTTP:': [gatewayCommand(), keysCommand()],
  'Swarms:': [joinCommand(), leaveCommand(), inviteCommand(), allowCommand(), blockCommand(), planCommand()],
  'Tools for models:': [certifyCommand(), quantizeCommand(), evalCommand()],
  'This program:': [
    ...[configCommand(program), serviceCommand(), completionCommand(program), versionCommand()]
  ]
})

/** What every command takes, before its name or after it. */
const everywhere = (): Option[] => [
  new Option('--data-dir <folder>', 'the folder of the node').default(dataFolder()),
  new Option('--config <file>', 'settings, instead of those of "shoal config path"; "" for none'),
  new Option('--json', 'print JSON'),
  new Option('--offline', 'contact nothing outside this machine'),
  new Option('-v, --verbose', 'say more'),
  new Option('-q, --quiet', 'say nothing but results, warnings and errors')
]

/** They say what is wrong with the settings, or have to work nevertheless. */
const LENIENT = ['config', 'doctor', 'version', 'completion']

export function makeProgram(): Command {
  const program = new Command('shoal')
    .description('Run open-weight language models together, peer to peer.')
    .version(VERSION)
    .showHelpAfterError('(see --help)')
    .enablePositionalOptions()
    .addHelpText('after', EXAMPLES)
    .configureHelp({
      subcommandDescription: (command) => firstSentence(command.description()),
      subcommandTerm: term
    })
    .commandsGroup('This program:')
    .helpCommand(true) // in that group
    .exitOverride()
  for (const [heading, commands] of Object.entries(groups(program))) {
    for (const command of commands) program.addCommand(prepared(command).helpGroup(heading))
  }
  for (const option of everywhere()) program.addOption(option.hideHelp()) // EXAMPLES names them
  return program.hook('preAction', (_, command) => beforeAction(program, command))
}

/** All take options. */
function term(command: Command): string {
  const names = [command.name(), ...command.aliases()].join('|')
  return `${names} ${command.usage().replace(/^\[options\] ?/, '')}`.trim()
}

function firstSentence(text: string): string {
  return /^.*?\.(?= |$)/.exec(text)?.[0] ?? text
}

/** A command and those below it, each with what every command takes. */
function prepared(command: Command): Command {
  command.showHelpAfterError('(see --help)').exitOverride()
  for (const below of command.commands) prepared(below)
  if (command.commands.length > 0) return command.configureHelp({ subcommandTerm: term })
  command.addHelpOption(new Option('-h, --help', 'this text').helpGroup('Everywhere:'))
  for (const option of everywhere()) {
    const own = command.options.find(({ long }) => long === option.long)
    if (own === undefined) command.addOption(option)
    ;(own ?? option).helpGroup('Everywhere:')
  }
  return command
}

async function beforeAction(program: Command, command: Command): Promise<void> {
  for (const option of program.options) {
    const name = option.attributeName()
    if (program.getOptionValueSource(name) !== 'cli' || command.getOptionValueSource(name) === 'cli') continue
    command.setOptionValueWithSource(name, program.getOptionValue(name), 'cli')
  }
  const isLenient = LENIENT.includes((command.parent === program ? command : command.parent)?.name() ?? '')
  await applySettings(program, command).catch((error: unknown) => {
    if (!isLenient) throw error
  })
  beQuiet(command.opts().quiet === true)
}
