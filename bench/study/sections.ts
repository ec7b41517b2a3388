import { activations } from './activations.ts'
import type { Sections } from './documents.ts'
import { latency } from './latency.ts'
import { parallelism } from './parallelism.ts'
import { recipes } from './recipes.ts'
import { simulation } from './simulation.ts'
import { sizes } from './sizes.ts'

/** All parts of documents that are written by `npm run bench -- study`. */
export const SECTIONS: Sections = {
  ...{ ...sizes, ...parallelism, ...activations },
  ...{ ...latency, ...recipes, ...simulation }
}
