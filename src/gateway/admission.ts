/** A request's way to a place: its owner's tokens, then the queue. */
import type { Admission, AdmissionCost } from './env.ts'
import { type Meter, waitingOf } from './limits.ts'
import type { FairQueue } from './queue.ts'
import type { Pending } from './requests.ts'

export interface AdmissionComponents {
  readonly meter: Meter
  readonly queue: FairQueue
  readonly onWaited: (ms: number) => void
}

/** Throws a GatewayError LIMITED or BUSY, or the signal's reason; then the prompt has cost nothing. */
export async function admit(
  { meter, queue, onWaited }: AdmissionComponents,
  pending: Pending,
  cost: AdmissionCost
): Promise<Admission> {
  const { owner, limits, controller } = pending
  const { promptTokens, answers: places = 1, onPosition } = cost
  const { concurrency } = limits
  // What can't be counted any more has been counted too high.
  const correct = (tokens: number): void => void meter.tokens(owner, limits, tokens).catch(() => {})
  await meter.prompt(owner, limits, promptTokens)
  try {
    const { signal } = controller
    const place = await queue.enter(owner, {
      ...{ places, concurrency, waiting: waitingOf(limits), signal, onPosition }
    })
    pending.queueMs = place.waitedMs
    pending.position = place.position
    onWaited(place.waitedMs)
    return {
      release: (used = []) => {
        place.release()
        if (used.length === places) {
          correct(used.reduce((sum, usage) => sum + usage.promptTokens, 0) - promptTokens)
        }
      }
    }
  } catch (error) {
    correct(-promptTokens)
    throw error
  }
}
