/** The machines of a swarm, as its announcements describe them. */
import type { HostedStage } from './discover.ts'
import type { Offer } from './placement-offer.ts'
import type { Machine, PlannedModel } from './planner.ts'
import { unitsOf } from './planner.ts'

/** Where nobody of the swarm has been measured yet: all are taken to be alike. */
const ANY_SPEED = { decodeMsPerBlock: 1, prefillMsPerBlock: 0.1 }

type Pace = Pick<Machine, 'decodeMsPerBlock' | 'prefillMsPerBlock'>

/**
 * Those who could host some of the model, by their offers; their names are peer ids. Speeds are those of what they host
 * of it now; who hosts nothing of it is taken to be as fast as the others are on average.
 */
export function machinesOf(
  model: PlannedModel & { readonly model: string },
  known: { readonly stages: readonly HostedStage[]; readonly offers: ReadonlyMap<string, Offer> }
): Machine[] {
  const units = unitsOf(model)
  const paces = new Map<string, Pace>()
  for (const { peer, stage } of known.stages) {
    if (stage.model !== model.model || stage.blockCount !== model.blockCount || stage.speed === undefined)
      continue
    const { decodeMicroseconds, prefillMicroseconds } = stage.speed
    const perUnit = 1 / (1000 * ((units[stage.end] as number) - (units[stage.start] as number)))
    paces.set(peer, {
      decodeMsPerBlock: decodeMicroseconds * perUnit,
      prefillMsPerBlock: prefillMicroseconds * perUnit
    })
  }
  const usual = usualOf([...paces.values()])
  return [...known.offers].flatMap(([peer, offer]) => {
    const room = offer.get(model.model)
    if (room === undefined) return []
    const memoryBytes = room.memoryBytes + model.computeBytes
    return [{ name: peer, memoryBytes, ...(paces.get(peer) ?? usual) }]
  })
}

function usualOf(paces: readonly Pace[]): Pace {
  if (paces.length === 0) return ANY_SPEED
  const mean = (of: (pace: Pace) => number): number =>
    paces.reduce((sum, pace) => sum + of(pace), 0) / paces.length
  return {
    decodeMsPerBlock: mean(({ decodeMsPerBlock }) => decodeMsPerBlock),
    prefillMsPerBlock: mean(({ prefillMsPerBlock }) => prefillMsPerBlock)
  }
}
