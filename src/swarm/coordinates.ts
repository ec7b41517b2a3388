/**
 * Network coordinates: every node has a place in a space whose distances predict round trips. Vivaldi with heights
 * (Dabek et al., SIGCOMM 2004), an adjustment term for what no space expresses (Lee et al., "On suitability of
 * Euclidean embedding", ToN 2010) and gravity against drift (Ledlie et al., "Network coordinates in the wild",
 * NSDI 2007), put together, and with the constants, as in HashiCorp's Serf. All in milliseconds.
 */
import type { Coordinate } from '../net/index.ts'

/** As in Serf; more gave Ledlie et al. nothing. */
const DIMENSIONS = 8
/** How wrong a node without any sample is, and the most that one sample may say. */
const MAX_ERROR = 1.5
/** Nobody is more certain, whatever they say: a claimed 0 would take all weight from what the node knows itself. */
const MIN_ERROR = 0.05
/** The most that a sample moves the error (ce) and the coordinate (cc). */
const ERROR_STEP = 0.25
const COORDINATE_STEP = 0.25
/** Heights stay positive: they grow in proportion. */
const MIN_HEIGHT_MS = 0.01
/** Samples that the adjustment is the mean of. */
const WINDOW = 20
/**
 * Pulls by `(distance from the origin / rho)^2`: 0.04 ms per sample at 100 ms. Serf's 150 is far weaker, since its
 * distances are in seconds; with 150 in milliseconds predictions were 12.5 % off instead of 11.7.
 */
const GRAVITY_MS = 500
/** Longer ones measured a stall, not a link. */
const MAX_RTT_MS = 10_000
/**
 * The most that a sample moves the coordinate, and counts for the adjustment. Honest ones stay below, and a liar (with
 * a place far away, or by answering late) needs many.
 */
const MAX_PULL_MS = 100

/** The round trip between two places, as predicted. */
export function distanceMs(a: Coordinate, b: Coordinate): number {
  const distance = rawDistance(a, b)
  const adjusted = distance + a.adjustment + b.adjustment
  return adjusted > 0 ? adjusted : distance
}

function rawDistance(a: Coordinate, b: Coordinate): number {
  let squares = 0
  for (let axis = 0; axis < DIMENSIONS; axis++) {
    const along = (a.vector[axis] as number) - (b.vector[axis] as number)
    squares += along * along
  }
  return Math.sqrt(squares) + a.height + b.height
}

/** A node's own place, learned from its round trips to others. */
export class NetworkCoordinate {
  readonly #random: () => number
  #current: Coordinate = {
    ...{
      vector: new Array<number>(DIMENSIONS).fill(0),
      height: MIN_HEIGHT_MS,
      adjustment: 0,
      error: MAX_ERROR
    }
  }
  /** What the last samples were longer than predicted without adjustment. */
  readonly #residuals = new Array<number>(WINDOW).fill(0)
  #samples = 0

  /** `random` gives numbers in [0, 1). */
  constructor(random: () => number) {
    this.#random = random
  }

  /** Not changed by later samples. */
  get current(): Coordinate {
    return this.#current
  }

  /** A round trip to somebody at `other` was measured. Impossible ones are ignored. */
  update(other: Coordinate, rttMs: number): void {
    const distance = rawDistance(this.#current, other)
    if (!(rttMs > 0 && rttMs <= MAX_RTT_MS) || !Number.isFinite(distance + other.error)) return
    const { error } = this.#current
    const weight = error / (error + Math.max(MIN_ERROR, other.error))
    const wrong = Math.min(MAX_ERROR, Math.abs(distance - rttMs) / rttMs)
    const learned = ERROR_STEP * weight
    const moved = this.#moved(other, clamp(COORDINATE_STEP * weight * (rttMs - distance)))
    this.#residuals[this.#samples++ % WINDOW] = clamp(rttMs - rawDistance(moved, other))
    const adjustment = this.#residuals.reduce((sum, residual) => sum + residual, 0) / (2 * WINDOW)
    this.#current = { ...moved, adjustment, error: wrong * learned + error * (1 - learned) }
  }

  /**
   * Away from `other` by `pull` (towards it, when negative), split between vector and height in proportion to what
   * they have of the distance, as in the paper; Serf moves both by all of it.
   */
  #moved(other: Coordinate, pull: number): Coordinate {
    const { vector, height } = this.#current
    const away = vector.map((value, axis) => value - (other.vector[axis] as number))
    const apart = Math.hypot(...away)
    if (apart < MIN_HEIGHT_MS) {
      const direction = away.map(() => this.#random() - 0.5)
      const length = Math.hypot(...direction) || 1
      return {
        ...this.#current,
        vector: vector.map((value, axis) => value + (pull * at(direction, axis)) / length)
      }
    }
    const heights = height + other.height
    const step = pull / (apart + heights)
    const pulled = vector.map((value, axis) => value + step * at(away, axis))
    const gravity = Math.hypot(...pulled) / GRAVITY_MS ** 2
    return {
      ...this.#current,
      vector: pulled.map((value) => value * (1 - gravity)),
      height: Math.max(MIN_HEIGHT_MS, height + step * heights)
    }
  }
}

function at(vector: readonly number[], axis: number): number {
  return vector[axis] as number
}

function clamp(ms: number): number {
  return Math.max(-MAX_PULL_MS, Math.min(MAX_PULL_MS, ms))
}
