/** What a line that begins with a slash does. */
import { similar } from '../../models/index.ts'
import { UsageError } from '../lifetime.ts'
import { optionValue, settingFrom } from '../settings.ts'
import { plain } from '../status.ts'
import { table } from '../units.ts'
import type { Repl } from './repl.ts'

interface SlashCommand {
  readonly usage: string
  readonly does: string
  readonly run: (repl: Repl, argument: string) => Promise<void> | void
}

const COMMANDS: Readonly<Record<string, SlashCommand>> = {
  help: { usage: '', does: 'this list', run: help },
  model: { usage: '[NAME]', does: 'go on with another model; without a name: which there are', run: model },
  system: { usage: '[TEXT]', does: 'what the model is told first; without a text: nothing', run: system },
  set: { usage: 'NAME VALUE', does: 'change a parameter', run: set },
  show: { usage: '', does: 'the model, the parameters, and how long the conversation is', run: showAll },
  clear: { usage: '', does: 'begin a new conversation', run: ({ dialogue }) => dialogue.clear() },
  save: { usage: 'FILE', does: 'write the conversation to a file', run: save },
  load: { usage: 'FILE', does: 'go on with a conversation from a file', run: load },
  verbose: {
    usage: '',
    does: 'say after each answer how fast it was, and who computed it; or no more',
    run: verbose
  },
  bye: {
    usage: '',
    does: 'leave',
    run: (repl) => {
      repl.isOver = true
    }
  }
}
const ALIASES: Readonly<Record<string, string>> = { '?': 'help', exit: 'bye', quit: 'bye' }

/** Throws a UsageError that says what there is. */
export async function runCommand(repl: Repl, line: string): Promise<void> {
  const [, typed = '', argument = ''] = /^\/(\S*)\s*(.*)$/s.exec(line) ?? []
  const name = ALIASES[typed] ?? typed
  const command = Object.hasOwn(COMMANDS, name) ? COMMANDS[name] : undefined
  if (command === undefined) {
    const [meant] = similar(typed, Object.keys(COMMANDS), 1)
    throw new UsageError(
      `There is no /${plain(typed)}. ${meant === undefined ? 'Try /help.' : `Did you mean /${meant}?`}`
    )
  }
  if (argument === '' && /^[A-Z]/.test(command.usage))
    throw new UsageError(`It goes: /${name} ${command.usage}`)
  await command.run(repl, argument.trim())
}

function help({ say, options }: Repl): void {
  const rows = Object.entries(COMMANDS).map(([name, { usage, does }]) => [
    `/${name} ${usage}`.trimEnd(),
    does
  ])
  for (const line of table(rows)) say(line)
  say(`\nParameters: ${options.map((option) => option.name()).join(', ')}`)
  say(
    '""" begins and ends a message of several lines; a backslash at the end of a line goes on with the next.'
  )
  say('Ctrl-C stops an answer, Ctrl-D leaves.')
}

async function model({ dialogue, say }: Repl, name: string): Promise<void> {
  if (name === '') {
    const cards = await dialogue.answers.models()
    const rows = cards.map((card) => [
      plain(card.name),
      card.isCovered ? 'can be asked' : 'nobody hosts all of it'
    ])
    for (const line of table(rows)) say(line)
    return
  }
  const card = await dialogue.answers.model(name)
  dialogue.model = name
  say(`Going on with ${plain(card.name)}.`)
}

function system({ dialogue }: Repl, text: string): void {
  dialogue.system = text === '' ? undefined : text
}

function set({ dialogue, options }: Repl, argument: string): void {
  const [name = '', ...words] = argument.split(/\s+/)
  const option = options.find((each) => each.name() === name.replaceAll('_', '-'))
  const names = options.map((each) => each.name())
  if (option === undefined) {
    const [meant] = similar(name, names, 1)
    const advice = meant === undefined ? `It is one of ${names.join(', ')}.` : `Did you mean ${meant}?`
    throw new UsageError(`There is no parameter ${plain(name)}. ${advice}`)
  }
  const value = optionValue(option, { setting: settingFrom(option, words.join(' ')), where: name })
  dialogue.parameters = { ...dialogue.parameters, [option.attributeName()]: value }
}

async function showAll({ dialogue, options, say }: Repl): Promise<void> {
  const { parameters, system, messages } = dialogue
  const card = await dialogue.answers.model(dialogue.model)
  const { id, name, blockCount, context, nodes, licence } = card
  const values = parameters as Readonly<Record<string, unknown>>
  const rows = [
    ['model', plain(name)],
    ['id', id],
    ['blocks', `${blockCount}, on ${nodes} nodes${card.isCovered ? '' : '; nobody hosts all of it'}`],
    ['context', context === undefined ? 'unknown' : String(context)],
    ['licence', plain(licence ?? 'unknown')],
    ['system', system ?? ''],
    ...options.map((option) => [option.name(), String(values[option.attributeName()] ?? '')]),
    ['messages', String(messages.length)]
  ]
  for (const line of table(rows)) say(line)
}

async function save({ dialogue, say }: Repl, path: string): Promise<void> {
  await dialogue.save(path)
  say(`Saved to ${path}.`)
}

async function load({ dialogue, say }: Repl, path: string): Promise<void> {
  await dialogue.load(path)
  say(`Going on with ${plain(dialogue.model)}, after ${dialogue.messages.length} messages.`)
}

function verbose(repl: Repl): void {
  repl.verbose = !repl.verbose
}
