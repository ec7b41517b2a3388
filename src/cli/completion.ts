/** Scripts that complete what people type, made from the commands themselves. */
import { Argument, Command, type Option } from 'commander'
import { VERSION } from '../common/index.ts'

const SHELLS = ['bash', 'zsh', 'fish'] as const
type Shell = (typeof SHELLS)[number]

/** A command by its words, such as `config set`, and what can follow. */
interface Entry {
  readonly words: readonly string[]
  readonly description: string
  readonly commands: readonly string[]
  readonly options: readonly Flag[]
  readonly takesModels: boolean
}

interface Flag {
  readonly names: readonly string[]
  readonly description: string
  /** What its value is; undefined: it takes none. */
  readonly value: 'any' | 'file' | 'folder' | readonly string[] | undefined
}

export function completionCommand(program: Command): Command {
  return new Command('completion')
    .description('Print a script that completes commands, options and names of models in a shell.')
    .addArgument(new Argument('<shell>', 'which shell').choices(SHELLS))
    .addHelpText(
      'after',
      `
Examples:
  shoal completion bash > ~/.local/share/bash-completion/completions/shoal
  shoal completion zsh > ~/.zfunc/_shoal       (with fpath+=~/.zfunc before compinit)
  shoal completion fish > ~/.config/fish/completions/shoal.fish`
    )
    .action((shell: Shell) => console.log(completionScript(program, shell)))
}

export function completionScript(program: Command, shell: Shell): string {
  const all = entries(program, [])
  const script = { bash, zsh, fish }[shell](all)
  return `${shell === 'zsh' ? '#compdef shoal\n' : ''}# Completes shoal ${VERSION}; made by "shoal completion ${shell}".\n${script}`
}

function entries(command: Command, words: readonly string[]): Entry[] {
  const here: Entry = {
    ...{ words, description: firstSentence(command.description()) },
    commands: command.commands.map((below) => below.name()),
    options: command.options.map(flagOf),
    takesModels: command.registeredArguments.some((argument) => /^models?$/.test(argument.name()))
  }
  return [here, ...command.commands.flatMap((below) => entries(below, [...words, below.name()]))]
}

function flagOf({ long, short, description, required, flags, argChoices }: Option): Flag {
  const names = [short, long].filter((name) => name !== undefined)
  const kind = /<folder>$/.test(flags) ? 'folder' : /<(file|model)>$/.test(flags) ? 'file' : 'any'
  return {
    names,
    description: firstSentence(description),
    value: required ? (argChoices ?? kind) : undefined
  }
}

function firstSentence(text: string): string {
  return (/^.*?[.:;](?= |$)/.exec(text)?.[0] ?? text).replace(/[.:;]$/, '')
}

/** In single quotes of any of these shells. */
function quoted(text: string): string {
  return `'${text.replaceAll("'", `'\\''`)}'`
}

/** Names of models in the store. */
const MODELS = `shoal list --json 2>/dev/null | grep -o '"name":"[^"]*"' | cut -d'"' -f4`

function bash(all: readonly Entry[]): string {
  const key = (words: readonly string[]): string => quoted([...words].join(' '))
  const paths = all.filter(({ words }) => words.length > 0).map(({ words }) => key(words))
  const cases = all.map(({ words, commands, options, takesModels }) => {
    const values = options.flatMap(({ names, value }) =>
      value === undefined ? [] : [`      ${names.join('|')}) ${bashValue(value)}; return ;;`]
    )
    const flags = options.flatMap(({ names }) => names)
    return [
      `    ${key(words)})`,
      ...(values.length === 0
        ? []
        : ['      case "$previous" in', ...values.map((line) => `  ${line}`), '      esac']),
      `      options=${quoted(flags.join(' '))} plain=${quoted(commands.join(' '))} models=${takesModels ? 1 : ''} ;;`
    ].join('\n')
  })
  return `_shoal() {
  local current=\${COMP_WORDS[COMP_CWORD]} previous=\${COMP_WORDS[COMP_CWORD-1]}
  declare -F _get_comp_words_by_ref >/dev/null && _get_comp_words_by_ref -n : -c current -p previous
  local path='' word options plain models
  COMPREPLY=()
  for word in "\${COMP_WORDS[@]:1:COMP_CWORD-1}"; do
    case "\${path:+$path }$word" in
      ${paths.join(' | ')}) path="\${path:+$path }$word" ;;
    esac
  done
  case "$path" in
${cases.join('\n')}
  esac
  if [[ $current == -* ]]; then
    COMPREPLY=($(compgen -W "$options" -- "$current"))
  elif [[ -n $models ]]; then
    COMPREPLY=($(compgen -W "$(${MODELS})" -- "$current") $(compgen -f -- "$current"))
  elif [[ -n $plain ]]; then
    COMPREPLY=($(compgen -W "$plain" -- "$current"))
  fi
  declare -F __ltrim_colon_completions >/dev/null && __ltrim_colon_completions "$current"
  return 0
}
complete -o bashdefault -F _shoal shoal`
}

function bashValue(value: NonNullable<Flag['value']>): string {
  if (value === 'folder') return 'COMPREPLY=($(compgen -d -- "$current"))'
  if (value === 'file') return 'COMPREPLY=($(compgen -f -- "$current"))'
  return value === 'any' ? ':' : `COMPREPLY=($(compgen -W ${quoted(value.join(' '))} -- "$current"))`
}

function zsh(all: readonly Entry[]): string {
  return [
    `_shoal_models() { local -a models; models=(\${(f)"$(${MODELS})"}); compadd -a models; _files }`,
    ...all.map(zshFunction),
    '_shoal "$@"'
  ].join('\n')
}

const zshName = (words: readonly string[]): string => ['_shoal', ...words].join('_').replaceAll('-', '_')

function zshFunction({ words, commands, options, takesModels }: Entry): string {
  const flags = options.flatMap(({ names, description, value }) =>
    names.map((name) => {
      const text = description.replace(/[[\]\\:]/g, (character) => `\\${character}`)
      return `    ${quoted(`*${name}[${text}]${value === undefined ? '' : zshValue(value)}`)} \\`
    })
  )
  const rest =
    commands.length > 0
      ? [`    '1:command:(${commands.join(' ')})' '*::argument:->below'`]
      : [takesModels ? `    '*:model:_shoal_models'` : `    '*:argument:_files'`]
  const below = commands.map((name) => `    ${name}) ${zshName([...words, name])} ;;`)
  return [
    ...[`${zshName(words)}() {`, '  local state', '  _arguments -C \\', ...flags, ...rest],
    ...(below.length === 0 ? [] : ['  [[ $state == below ]] && case $words[1] in', ...below, '  esac']),
    '}'
  ].join('\n')
}

function zshValue(value: NonNullable<Flag['value']>): string {
  if (value === 'folder') return ':folder:_files -/'
  if (value === 'file') return ':file:_files'
  return value === 'any' ? ':value:' : `:value:(${value.join(' ')})`
}

function fish(all: readonly Entry[]): string {
  const lines = all.flatMap((entry) => {
    const below = all.filter(
      ({ words }) => words.length === entry.words.length + 1 && isBelow(words, entry.words)
    )
    const here = fishHere(entry)
    return [
      ...below.map(
        ({ words, description }) =>
          `complete -c shoal -n ${here} -f -a ${words.at(-1)} -d ${quoted(description)}`
      ),
      ...entry.options.map((flag) => `complete -c shoal -n ${here} ${fishFlag(flag)}`),
      ...(entry.takesModels ? [`complete -c shoal -n ${here} -a ${quoted(`(${MODELS})`)}`] : [])
    ]
  })
  return lines.join('\n')
}

function isBelow(words: readonly string[], above: readonly string[]): boolean {
  return above.every((word, index) => words[index] === word)
}

function fishHere({ words, commands }: Entry): string {
  if (words.length === 0) return '__fish_use_subcommand'
  const seen = words.map((word) => `__fish_seen_subcommand_from ${word}`)
  const none = commands.length === 0 ? [] : [`not __fish_seen_subcommand_from ${commands.join(' ')}`]
  return quoted([...seen, ...none].join('; and '))
}

function fishFlag({ names, description, value }: Flag): string {
  const flags = names.map((name) => (name.startsWith('--') ? `-l ${name.slice(2)}` : `-s ${name.slice(1)}`))
  const takes = value === undefined ? [] : [fishValue(value)]
  return [...flags, ...takes, '-d', quoted(description)].join(' ')
}

function fishValue(value: NonNullable<Flag['value']>): string {
  if (value === 'folder') return "-x -a '(__fish_complete_directories)'"
  if (value === 'file') return '-r -F'
  return value === 'any' ? '-x' : `-x -a ${quoted(value.join(' '))}`
}
