import { execFileSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { describe, expect, test } from 'vitest'
import { completionScript } from './completion.ts'
import { makeProgram } from './program.ts'

const program = makeProgram()
const BASH = '/bin/bash'

/** What bash offers after these words; models are named by a double of shoal. */
function offers(...words: string[]): string[] {
  const line = words.map((word) => `'${word}'`).join(' ')
  const script = [
    `shoal() { echo '[{"id":"1","name":"demo:2m","names":[]}]'; }`,
    completionScript(program, 'bash'),
    `COMP_WORDS=(shoal ${line}); COMP_CWORD=${words.length}; _shoal; printf '%s\\n' "\${COMPREPLY[@]}"`
  ].join('\n')
  const output = execFileSync(BASH, ['--norc', '-c', script], { cwd: '/proc/self/task', encoding: 'utf8' })
  return output.split('\n').filter((word) => word !== '')
}

describe.skipIf(!existsSync(BASH))('in bash', () => {
  test.each<[string[], string[]]>([
    [['sta'], ['status']],
    [
      ['config', ''],
      ['list', 'get', 'set', 'unset', 'path', 'paths']
    ],
    [['up', '--mem'], ['--memory']],
    [
      ['--json', 'up', '--kv-type', 'q'],
      ['q8_0', 'q4_0']
    ],
    [['config', 'list', '--js'], ['--json']],
    [['run', 'de'], ['demo:2m']],
    [['up', '--memory', ''], []]
  ])('%j', (words, wanted) => {
    expect(offers(...words)).toEqual(wanted)
  })
})

test.each(['zsh', 'fish'] as const)('%s has all commands and options', (shell) => {
  const script = completionScript(program, shell)
  for (const command of program.commands) {
    expect(script).toMatch(new RegExp(`\\b${command.name()}\\b`))
    for (const { long } of command.options)
      expect(script).toContain(shell === 'fish' ? `-l ${long?.slice(2)} ` : `*${long}[`)
  }
})
