/** The swarm that this machine is in, as `shoal plan` sees it. */
import { setTimeout as delay } from 'node:timers/promises'
import { aborted } from '../common/index.ts'
import type { Speed } from '../net/index.ts'
import type { Node } from '../node/index.ts'
import type { HostedStage, Machine } from '../swarm/index.ts'
import type { OpenSwarm, PlannedSwarm } from './plan.ts'

/** Announcements of those that just came are under way. */
const LISTEN_MS = 2_000
const ASK_MS = 10_000
/** Where nobody has measured anything, all machines are taken to be equal. */
const ANY_MS = 1

/** `node` is not started yet, and is stopped by `close`. */
export function openSwarmOf(node: Node): OpenSwarm {
  return async ({ model }, signal) => {
    await node.start({ signal })
    node.swarm.follow(model)
    await node.joined
    await Promise.race([delay(LISTEN_MS), aborted(signal)])
    signal.throwIfAborted()
    return plannedSwarm(node, model)
  }
}

function plannedSwarm(node: Node, model: string): PlannedSwarm {
  const { directory } = node.swarm
  const stages = directory.stagesOf(model)
  const usual = average(stages.flatMap((hosted) => perBlock(hosted) ?? []))
  const machines = [...directory.offersOf(model)].map(([peer, offer]): Machine => {
    const hosted = stages.find((stage) => stage.peer === peer)
    const { decodeMicroseconds, prefillMicroseconds } = (hosted && perBlock(hosted)) ?? usual
    return {
      ...{ name: peer, memoryBytes: offer.get(model)?.memoryBytes ?? 0 },
      ...{ decodeMsPerBlock: decodeMicroseconds / 1000, prefillMsPerBlock: prefillMicroseconds / 1000 }
    }
  })
  return {
    machines,
    linkMs: (from, to) => node.rttBetween(from, to) / 2,
    consumerMs: (machine) => node.rttBetween(machine, node.host.peerId) / 2,
    async assign(machine, start, end) {
      const addresses = directory.announcementOf(machine)?.addresses ?? []
      const request = { type: 'assign' as const, model, start, end }
      const answer = await node.host.ask(machine, addresses, request, AbortSignal.timeout(ASK_MS))
      if (answer.type === 'assign') return answer
      return {
        accepted: false,
        message: answer.type === 'refused' ? answer.message : 'it answers something else'
      }
    },
    close: () => node.stop()
  }
}

function perBlock({ stage: { speed, start, end } }: HostedStage): Speed | undefined {
  if (speed === undefined) return undefined
  const { decodeMicroseconds, prefillMicroseconds } = speed
  return {
    decodeMicroseconds: decodeMicroseconds / (end - start),
    prefillMicroseconds: prefillMicroseconds / (end - start)
  }
}

function average(speeds: readonly Speed[]): Speed {
  const mean = (of: (speed: Speed) => number): number =>
    speeds.length === 0 ? ANY_MS * 1000 : speeds.reduce((sum, speed) => sum + of(speed), 0) / speeds.length
  return {
    decodeMicroseconds: mean(({ decodeMicroseconds }) => decodeMicroseconds),
    prefillMicroseconds: mean(({ prefillMicroseconds }) => prefillMicroseconds)
  }
}
