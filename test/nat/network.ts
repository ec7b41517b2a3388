/**
 * Network namespaces with routers that translate addresses, made with iproute2 and nftables: a public segment, and
 * homes behind a router each. They have no link to the machine's own network.
 */
import { type ChildProcess, execFileSync, type ForkOptions, spawn } from 'node:child_process'
import { existsSync } from 'node:fs'

/**
 * What a home's router does with what goes out. `cone` is Linux's masquerade: an inner port keeps its number outside,
 * whoever it speaks to; what comes in unasked is dropped. `carrier` is two of them, as with mobile providers.
 * `symmetric` takes another random port for each destination. `tcp-only` is `cone` without UDP.
 */
export type Router = 'cone' | 'carrier' | 'symmetric' | 'tcp-only'

const PREFIX = 'shoal-nat-'
/**
 * libp2p takes all ranges for documentation and tests for private ones, and neither confirms nor punches holes there.
 * So these look public; outside of the namespaces nobody dials them.
 */
const PUBLIC_IP = '11.0.0.1'
/** Where `shoal up` listens there. */
export const PUBLIC_ADDRESS = `/ip4/${PUBLIC_IP}/tcp/8643`

/** Why there can be no such network here, or undefined when there can. */
export async function obstacleHere(): Promise<string | undefined> {
  try {
    await new NatNetwork(['symmetric']).remove()
    return undefined
  } catch (error) {
    return `${(error as Error).message.trim()} (it takes Linux, root, iproute2 and nftables)`
  }
}

export class NatNetwork {
  /** The namespace of the public segment. */
  readonly wan: string
  /** The namespaces of the homes. */
  readonly homes: string[] = []
  readonly #names: string[] = []
  readonly #children = new Set<ChildProcess>()

  constructor(routers: readonly Router[]) {
    removeLeftovers()
    try {
      this.wan = this.#namespace('wan')
      // The bridge is the segment's switch, and the public node's own interface.
      ip('-n', this.wan, 'link', 'add', 'wan', 'type', 'bridge')
      ip('-n', this.wan, 'addr', 'add', `${PUBLIC_IP}/16`, 'dev', 'wan')
      ip('-n', this.wan, 'link', 'set', 'wan', 'up')
      for (const [home, router] of routers.entries()) this.homes.push(this.#home(home, router))
    } catch (error) {
      this.#removeNamespaces()
      throw error
    }
  }

  #namespace(name: string): string {
    const full = `${PREFIX}${process.pid}-${name}`
    ip('netns', 'add', full)
    this.#names.push(full)
    ip('-n', full, 'link', 'set', 'lo', 'up')
    return full
  }

  #home(index: number, kind: Router): string {
    const [name, net] = [`home${index}`, `10.${index + 1}.0`]
    const router = this.#namespace(`router${index}`)
    link(this.wan, `to${index}`, router, 'wan')
    ip('-n', this.wan, 'link', 'set', `to${index}`, 'master', 'wan')
    ip('-n', router, 'addr', 'add', `11.0.1.${index + 1}/16`, 'dev', 'wan')
    route(router, kind)
    if (kind !== 'carrier') return this.#behind(router, name, net)
    const second = this.#behind(router, `second${index}`, `100.64.${index + 1}`)
    route(second, 'cone')
    return this.#behind(second, name, net)
  }

  /** A namespace in the network `net`.0/24 of a router. */
  #behind(router: string, name: string, net: string): string {
    const namespace = this.#namespace(name)
    link(router, 'lan', namespace, 'wan')
    ip('-n', router, 'addr', 'add', `${net}.1/24`, 'dev', 'lan')
    ip('-n', namespace, 'addr', 'add', `${net}.2/24`, 'dev', 'wan')
    ip('-n', namespace, 'route', 'add', 'default', 'via', `${net}.1`)
    return namespace
  }

  /** Starts a module of this project in a namespace, with a message channel, as `fork` does. */
  fork(namespace: string, module: string, args: readonly string[], options: ForkOptions = {}): ChildProcess {
    const command = ['netns', 'exec', namespace, process.execPath, module, ...args]
    const child = spawn('ip', command, { ...options, stdio: ['ignore', 'inherit', 'inherit', 'ipc'] })
    this.#children.add(child)
    child.once('exit', () => this.#children.delete(child))
    return child
  }

  /** Ends all that was started in the namespaces, and removes them. */
  async remove(): Promise<void> {
    const gone = [...this.#children].map((child) => new Promise((resolve) => child.once('exit', resolve)))
    for (const child of this.#children) child.kill('SIGKILL')
    await Promise.all(gone)
    this.#removeNamespaces()
  }

  #removeNamespaces(): void {
    for (const name of this.#names.splice(0)) ip('netns', 'del', name)
  }
}

/** Makes a namespace a router from `lan` to `wan`. */
function route(namespace: string, kind: Router): void {
  inside(namespace, 'sh', '-c', 'echo 1 > /proc/sys/net/ipv4/ip_forward')
  const rules = `
    table ip home {
      chain forward {
        type filter hook forward priority filter; policy drop;
        ${kind === 'tcp-only' ? 'meta l4proto udp drop' : ''}
        ct state established,related accept
        iifname "lan" accept
      }
      chain input {
        type filter hook input priority filter; policy accept;
        iifname "wan" drop
      }
      chain outgoing {
        type nat hook postrouting priority srcnat;
        oifname "wan" masquerade ${kind === 'symmetric' ? 'fully-random' : ''}
      }
    }`
  inside(namespace, 'nft', rules)
}

function link(from: string, fromName: string, to: string, toName: string): void {
  ip('-n', from, 'link', 'add', fromName, 'type', 'veth', 'peer', 'name', toName, 'netns', to)
  ip('-n', from, 'link', 'set', fromName, 'up')
  ip('-n', to, 'link', 'set', toName, 'up')
}

/** Namespaces of runs that were killed. */
function removeLeftovers(): void {
  for (const name of ip('netns', 'list').match(new RegExp(`${PREFIX}\\d+-\\w+`, 'g')) ?? []) {
    const pid = /\d+/.exec(name)?.[0]
    if (!existsSync(`/proc/${pid}`)) ip('netns', 'del', name)
  }
}

function ip(...args: readonly string[]): string {
  return execFileSync('ip', args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] })
}

function inside(namespace: string, ...command: readonly string[]): void {
  ip('netns', 'exec', namespace, ...command)
}
