import { Command, InvalidArgumentError, Option } from 'commander'
import { ShoalError } from '../common/index.ts'
import { dataFolder, invite, type NodeStatus } from '../node/index.ts'
import { ROLES, type Role, swarmName } from '../swarm/index.ts'
import { UsageError, untilInterrupted } from './lifetime.ts'
import { addresses, integer } from './options.ts'
import { note } from './output.ts'
import { askStatus } from './status.ts'

interface InviteOptions {
  readonly name?: string
  readonly roles: readonly Role[]
  readonly expires: number
  readonly uses: number
  readonly address?: string[]
  readonly dataDir: string
  readonly json?: boolean
}

const HOUR_MS = 3_600_000
const UNITS = { m: HOUR_MS / 60, h: HOUR_MS, d: 24 * HOUR_MS }
const MAX_EXPIRES_MS = 365 * UNITS.d
/** Telling others what to host is for few. */
const DEFAULT_ROLES: readonly Role[] = ['consumer', 'provider', 'seeder']

export function inviteCommand(): Command {
  return new Command('invite')
    .description(
      "Invite a machine to this machine's private swarm, which the first invitation makes. Prints a token for " +
        '"shoal join". It is a secret: whoever has it can connect to the swarm.'
    )
    .option('--roles <list>', `what it may do, of ${ROLES.join(',')}`, roles, DEFAULT_ROLES)
    .addOption(
      new Option('--expires <time>', 'how long it is good for, such as 30m, 12h or 7d')
        .argParser(duration)
        .default(7 * UNITS.d, '7d')
    )
    .option('--uses <count>', 'how many machines may come with it', integer(1, 10_000), 1)
    .option('--name <name>', 'of the swarm, when this makes it', name)
    .option(
      '--address <address>',
      "where this machine's node is reached (may be given several times; default: as the running node says)",
      addresses
    )
    .option('--data-dir <folder>', 'the folder of the node, as "shoal up" was given it', dataFolder())
    .option('--json', 'print one JSON object: token, swarm, roles, uses, expires, addresses')
    .action(makeInvitation)
}

async function makeInvitation(options: InviteOptions): Promise<void> {
  const { roles, uses, dataDir, json } = options
  const node = await runningNode(dataDir)
  const addresses = options.address ?? node?.addresses ?? []
  if (addresses.length === 0) {
    throw new UsageError(
      'Say where others reach this machine, such as --address /ip4/192.168.1.20/tcp/8643, or start its node first.'
    )
  }
  const { token, swarm, expires, isNew } = await invite(dataDir, {
    ...{ name: options.name, roles, expiresInMs: options.expires, uses, addresses }
  })
  const until = new Date(expires).toISOString()
  if (isNew) note(`This machine has made the private swarm ${swarm.name}.`)
  if (addresses.every((address) => /^\/(ip4\/127\.|ip6\/::1\/)/.test(address))) {
    console.error('warning: only this machine can be reached there: name an address that others reach.')
  }
  if (node !== undefined && node.swarm.kind !== 'private') {
    note('The node that runs here is not in it yet: "shoal finish" it, and start it again.')
  }
  if (json) {
    console.log(JSON.stringify({ token, swarm: swarm.name, roles, uses, expires: until, addresses }))
    return
  }
  note(
    `Good for ${uses === 1 ? '1 machine' : `${uses} machines`} as ${roles.join(', ')}, until ${until}. ` +
      'This node has to be up when it joins, with:'
  )
  console.log(token)
}

async function runningNode(dataDir: string): Promise<NodeStatus | undefined> {
  try {
    return await askStatus(dataDir, untilInterrupted())
  } catch (error) {
    if (error instanceof ShoalError && error.code === 'NOT_RUNNING') return undefined
    throw error
  }
}

function roles(text: string): Role[] {
  const words = text.split(',').map((word) => word.trim())
  if (!words.every((word) => ROLES.some((role) => role === word))) {
    throw new InvalidArgumentError(`It must be some of ${ROLES.join(', ')}, with commas between.`)
  }
  return ROLES.filter((role) => words.includes(role))
}

function duration(text: string): number {
  const [, number, unit] = /^(\d{1,5})([mhd])$/.exec(text) ?? []
  const ms = Number(number) * UNITS[(unit ?? 'm') as keyof typeof UNITS]
  if (!(ms > 0 && ms <= MAX_EXPIRES_MS)) {
    throw new InvalidArgumentError('It must be a time of at most 365d, such as 30m, 12h or 7d.')
  }
  return ms
}

function name(text: string): string {
  if (swarmName.safeParse(text).success) return text
  throw new InvalidArgumentError('It must have 1 to 64 characters, and none that only control a terminal.')
}
