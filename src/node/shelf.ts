/** The models whose files are on this machine, and what blocks of them take. */

import { ShoalError } from '../common/index.ts'
import { checkSpans, memoryOf, openModel } from '../models/index.ts'
import type { StageInfo } from '../net/index.ts'
import type { HostableModel } from '../swarm/index.ts'
import { type EngineSettings, nameOf, profileOf } from './hosting.ts'

export interface ShelvedModel {
  /** The GGUF file, or the first part of it. */
  readonly path: string
  readonly width: number
  readonly hostable: HostableModel
}

export type Shelf = ReadonlyMap<string, ShelvedModel>

/** Reads headers only. Throws a ShoalError that names the file which is no model, or can't be hosted in parts. */
export async function openShelf(
  paths: readonly string[],
  settings: EngineSettings,
  signal?: AbortSignal
): Promise<Shelf> {
  const shelf = new Map<string, ShelvedModel>()
  for (const path of paths) {
    const model = await openModel(path, { signal }).catch((error: unknown) => refuse(path, error))
    try {
      checkSpans(model)
      const { id, architecture, blockCount, width } = model
      const hostable = {
        ...{ model: id, name: nameOf(model), architecture, blockCount, profile: profileOf(model, settings) },
        ...memoryOf(model, settings.kvType),
        ...{ positions: settings.context, computeBytes: 0 }
      }
      shelf.set(id, { path, width, hostable })
    } catch (error) {
      refuse(path, error)
    } finally {
      await model.close()
    }
  }
  return shelf
}

/** There may be several. */
function refuse(path: string, error: unknown): never {
  if (!(error instanceof ShoalError) || error.code === 'MODEL_FILE') throw error
  throw new ShoalError(error.code, `${path}: ${error.message}`, { cause: error })
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
