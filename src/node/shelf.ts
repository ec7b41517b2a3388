/** The models whose files are on this machine, and what blocks of them take. */

import { ShoalError } from '../common/index.ts'
import { checkSpans, memoryOf } from '../models/index.ts'
import type { StageInfo } from '../net/index.ts'
import type { HostableModel } from '../swarm/index.ts'
import { type EngineSettings, nameOf, profileOf, reporter } from './hosting.ts'
import type { Library } from './library.ts'

export interface ShelvedModel {
  /** As the library finds it again. */
  readonly called: string
  readonly width: number
  readonly hostable: HostableModel
}

export type Shelf = ReadonlyMap<string, ShelvedModel>

/** Throws a ShoalError that says which of them is no model, or can't be hosted in parts. */
export async function openShelf(
  names: readonly string[],
  library: Pick<Library, 'find'>,
  settings: EngineSettings,
  { signal, report }: { signal?: AbortSignal; report?: (message: string) => void } = {}
): Promise<Shelf> {
  const shelf = new Map<string, ShelvedModel>()
  for (const called of names) {
    try {
      const model = await library.find(called, { signal, onProgress: reporter(`reading ${called}`, report) })
      checkSpans(model)
      const { id, architecture, blockCount, width } = model
      const hostable = {
        ...{ model: id, name: nameOf(model), architecture, blockCount, profile: profileOf(model, settings) },
        ...memoryOf(model, settings.kvType),
        ...{ positions: settings.context, computeBytes: 0 }
      }
      shelf.set(id, { called, width, hostable })
    } catch (error) {
      refuse(called, error)
    }
  }
  return shelf
}

/** There may be several. */
function refuse(called: string, error: unknown): never {
  if (!(error instanceof ShoalError) || error.message.includes(called)) throw error
  throw new ShoalError(error.code, `${called}: ${error.message}`, { cause: error })
}

/** What is said of a span while it is being loaded: its engine would give the same. */
export function loadingInfo(
  { hostable, width }: ShelvedModel,
  { start, end }: { readonly start: number; readonly end: number },
  { context, sessions }: EngineSettings
): StageInfo {
  const { model, name, architecture, blockCount, profile } = hostable
  return {
    ...{ model, name, architecture, start, end, blockCount, width, profile, context, sessions, maxRows: 1 },
    ...{ head: end === blockCount, embedding: start === 0, state: 'loading' }
  }
}
