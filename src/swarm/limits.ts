// How much a node says, takes and passes on: see docs/SWARM.md.
import type { Rate } from '../common/index.ts'

/** A node announces a change at once, but not without end. */
export const AUTHOR: Rate = { burst: 10, everyMs: 2_000 }
/** What a node keeps to itself: below what others take from it, so that none of it is lost. */
export const OWN: Rate = { burst: 8, everyMs: 2_500 }
/** A consumer sees a few nodes die at once, when a site does. */
export const OBSERVER: Rate = { burst: 5, everyMs: 10_000 }
/** A node follows a few models, and says each of them once a minute at most. */
export const SUMMARIES: Rate = { burst: 32, everyMs: 2_000 }
/** Of what a neighbour passes on. A topic has five announcements per second, from some eight neighbours. */
export const NEIGHBOUR: Rate = { burst: 200, everyMs: 50 }
/** Of what all neighbours do, which is what this node passes on: 0.4 ms each, mostly for the signature. */
export const ALL_NEIGHBOURS: Rate = { burst: 1_500, everyMs: 5 }
/** More than {@link ALL_NEIGHBOURS} lets any honest node pass on; net looks at some more from one neighbour. */
export const FLOOD: Rate = { burst: 2_000, everyMs: 4 }
/** Three in a minute are an accident; gossipsub, too, listens to nobody who sent four. */
export const GARBAGE: Rate = { burst: 3, everyMs: 20_000 }
/** A directory is megabytes in a large swarm. */
export const DIRECTORIES: Rate = { burst: 10, everyMs: 1_000 }
