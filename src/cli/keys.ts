import { join } from 'node:path'
import { Command, Option } from 'commander'
import { ShoalError } from '../common/index.ts'
import { type ApiKey, KEYS_FILE, KeyStore } from '../gateway/index.ts'
import { dataFolder } from '../node/index.ts'
import { integer } from './options.ts'
import { note } from './output.ts'
import { plain } from './status.ts'

interface KeysOptions {
  readonly keys?: string
  readonly dataDir: string
  readonly json?: boolean
}

interface CreateOptions extends KeysOptions {
  readonly name: string
  readonly requestsPerMinute?: number
  readonly tokensPerMinute?: number
  readonly concurrency?: number
}

export function keysCommand(): Command {
  return new Command('keys')
    .description(
      'The keys that a gateway asks for ("shoal gateway --keys FILE"). One that runs goes by them at once.'
    )
    .addCommand(createCommand())
    .addCommand(listCommand())
    .addCommand(revokeCommand())
}

function createCommand(): Command {
  return withPlace(new Command('create'))
    .description('Make a key. It is told this once: only its hash is kept.')
    .option('--name <name>', 'what it is called in lists', '')
    .option('--requests-per-minute <count>', 'most requests (default: no limit)', integer(1, 1e9))
    .option(
      '--tokens-per-minute <count>',
      'most tokens of prompts and answers (default: no limit)',
      integer(1, 1e9)
    )
    .option('--concurrency <count>', 'most answers at once (default: no limit)', integer(1, 10_000))
    .action((options: CreateOptions) => {
      const { secret, key } = using(options, (store) => store.create(options.name, options, Date.now()))
      if (options.json) console.log(JSON.stringify({ key: secret, ...inJson(key) }))
      else {
        note(`Key ${key.id}, for "shoal gateway --keys ${placeOf(options)}". It is not told again:`)
        console.log(secret)
      }
    })
}

function listCommand(): Command {
  return withPlace(new Command('list'))
    .description('List the keys, without what is secret about them.')
    .action((options: KeysOptions) => {
      const keys = using(options, (store) => store.list())
      if (options.json) return console.log(JSON.stringify(keys.map(inJson)))
      for (const key of keys) console.log(inWords(key))
      if (keys.length === 0) note('There are no keys yet: "shoal keys create" makes one.')
    })
}

function revokeCommand(): Command {
  return withPlace(new Command('revoke'))
    .description('End keys, for good.')
    .argument('<ids...>', 'as "shoal keys list" has them')
    .action((ids: string[], options: KeysOptions) => {
      using(options, (store) => {
        for (const id of ids) {
          if (store.revoke(id, Date.now())) continue
          throw new ShoalError('KEYS', `There is no key ${id} that is good: "shoal keys list" has them.`)
        }
      })
      if (options.json) console.log(JSON.stringify(ids))
      else note(`${ids.join(', ')}: revoked`)
    })
}

function withPlace(command: Command): Command {
  return command
    .addOption(new Option('--keys <file>', `where they are kept (default: ${KEYS_FILE} in --data-dir)`))
    .option('--data-dir <folder>', 'the folder of the node, as "shoal up" was given it', dataFolder())
    .option('--json', 'print JSON')
}

function placeOf({ keys, dataDir }: KeysOptions): string {
  return keys ?? join(dataDir, KEYS_FILE)
}

function using<T>(options: KeysOptions, use: (store: KeyStore) => T): T {
  const store = new KeyStore(placeOf(options))
  try {
    return use(store)
  } finally {
    store.close()
  }
}

function inJson({ limits, created, used, revoked, ...key }: ApiKey): Record<string, unknown> {
  const date = (ms: number | undefined): string | null =>
    ms === undefined ? null : new Date(ms).toISOString()
  return { ...key, ...limits, created: date(created), used: date(used), revoked: date(revoked) }
}

function inWords({ id, name, limits, created, used, revoked }: ApiKey): string {
  const day = (ms: number): string => new Date(ms).toISOString().slice(0, 10)
  const { requestsPerMinute, tokensPerMinute, concurrency } = limits
  return [
    `${id}  ${plain(name) || '(no name)'}`,
    `made ${day(created)}`,
    used === undefined ? 'not used yet' : `used ${day(used)}`,
    ...(requestsPerMinute === undefined ? [] : [`${requestsPerMinute} requests per minute`]),
    ...(tokensPerMinute === undefined ? [] : [`${tokensPerMinute} tokens per minute`]),
    ...(concurrency === undefined ? [] : [`${concurrency} answers at once`]),
    ...(revoked === undefined ? [] : [`revoked ${day(revoked)}`])
  ].join(', ')
}
