/** What a step takes, learned from the steps that were measured. All times are in milliseconds. */

export interface StepRows {
  readonly decodeRows: number
  readonly promptRows: number
}

/** Steps that an average goes back: new loads and longer contexts are followed within some ten steps. */
const MEMORY = 8
/** One hiccup of the machine counts as no more than this many times the average. */
const MOST_SURPRISE = 3
/** A row never counts as less than this share of the mean of all rows: a budget grows at most fourfold per step. */
const LEAST_ROW_SHARE = 0.25
/** What the least known mean of rows grows by with each step, since loads and contexts change: twofold in 1,400. */
const MEAN_GROWTH = 1.0005

/** However slow rows are, prompts advance, and tell what a row costs. */
const LEAST_PROMPT_ROWS = 2
/** With nobody to disturb, a step may be so long that whoever comes waits no longer than this. */
const ALONE_MS = 2_000
/** Rows of a prompt alone in a step come in multiples of this, so that the same prompt is mostly cut the same way. */
const ROWS_ALONE = 32
/** Rows of a prompt before anything is known: what consumers usually send in a frame. */
const FIRST_ROWS = 128
/** Rows that take so many times what a step takes anyway are enough for one. */
const ROWS_TO_FIXED = 1

/** Silence that means nothing yet: an engine may be paged in, or compile its kernels. */
const PATIENCE_MS = 60_000
const PATIENCE_PER_ROW_MS = 1_000
/** Steps of a kind before its times are believed. */
const KNOWN_STEPS = 3
/** A number of rows never had before, in powers of two: GPU kernels for it may have to be compiled first. */
const NEW_SIZE_MS = 10_000
/** A step that takes longer than this, and so many times what was expected, is a hang. */
const LEAST_DEADLINE_MS = 1_000
const DEADLINE_FACTOR = 4
/** What is left of a bad step's surprise after each step: a half after 140. */
const STRAIN_DECAY = 0.995

/** Mean of the first samples, exponential from then on. */
class Average {
  value = 0
  count = 0

  add(sample: number): void {
    const limited = this.count < KNOWN_STEPS ? sample : Math.min(sample, MOST_SURPRISE * this.value)
    this.count += 1
    this.value += (limited - this.value) / Math.min(this.count, MEMORY)
  }
}

/**
 * A line through the usual decode step: `ms = decodeMs + rowMs * (rows - decodeRows)`. Rows cost about the same
 * whatever they are for, and less the more there are (until compute, not memory, is what they wait for).
 */
export class StepCost {
  readonly #decodeMs = new Average()
  readonly #decodeRows = new Average()
  readonly #rowMs = new Average()
  /** Of steps with prompts: all that is known until somebody decodes. */
  readonly #promptMs = new Average()
  readonly #promptRows = new Average()
  /** Least recent mean of a step's milliseconds by its rows: no row more costs more than that. */
  #leastMeanMs = Number.POSITIVE_INFINITY
  /** Recent worst of measured to predicted, at least 1. */
  #strain = 1
  readonly #sizes = new Set<number>()

  measured({ decodeRows, promptRows }: StepRows, ms: number): void {
    const rows = decodeRows + promptRows
    const predicted = this.predict(rows)
    if (predicted > 0) this.#strain = Math.max(1, this.#strain * STRAIN_DECAY, ms / predicted)
    this.#sizes.add(sizeOf(rows))
    this.#leastMeanMs = Math.min(this.#leastMeanMs * MEAN_GROWTH, ms / rows)
    if (promptRows > 0) {
      this.#promptMs.add(ms)
      this.#promptRows.add(rows)
    }
    const more = rows - this.#decodeRows.value
    if (
      this.#decodeMs.count > 0 &&
      Math.abs(more) >= Math.max(LEAST_PROMPT_ROWS, this.#decodeRows.value / 2)
    ) {
      const mean = more > 0 ? ms / rows : this.#decodeMs.value / this.#decodeRows.value
      const slope = (ms - this.#decodeMs.value) / more
      this.#rowMs.add(Math.min(this.#leastMeanMs, Math.max(slope, mean * LEAST_ROW_SHARE)))
    }
    if (promptRows === 0) {
      this.#decodeMs.add(ms)
      this.#decodeRows.add(decodeRows)
    }
  }

  /** What a step with so many rows likely takes; 0 while nothing is known. Rather too much than too little. */
  predict(rows: number): number {
    if (this.#decodeMs.count === 0) {
      if (this.#promptMs.count === 0) return 0
      return this.#promptMs.value * Math.max(1, rows / this.#promptRows.value)
    }
    const usual = this.#decodeMs.value
    const share = (usual * rows) / this.#decodeRows.value
    return Math.max(usual + this.#slope * (rows - this.#decodeRows.value), Math.min(share, usual / 2))
  }

  /** Milliseconds per row more: the mean of the decode step's rows until steps with more have been measured. */
  get #slope(): number {
    return this.#rowMs.count > 0 ? this.#rowMs.value : this.#decodeMs.value / this.#decodeRows.value
  }

  /** Rows that a step may have to take no longer than `ms`. */
  #rowsWithin(ms: number): number {
    if (this.#decodeMs.count === 0) return (ms / this.#promptMs.value) * this.#promptRows.value
    return this.#decodeRows.value + (ms - this.#decodeMs.value) / this.#slope
  }

  /** Prompt rows that a step may have beside so many decode rows to take `ms`. */
  promptRowsWithin(ms: number, decodeRows: number): number {
    if (this.#decodeMs.count === 0) return decodeRows > 0 ? 0 : ROWS_ALONE
    return Math.max(LEAST_PROMPT_ROWS, Math.floor(this.#rowsWithin(Math.min(ms, ALONE_MS)) - decodeRows))
  }

  /** Prompt rows of a step while nobody decodes. */
  promptRowsAlone(): number {
    if (this.#promptMs.count === 0) return FIRST_ROWS
    const rows = (ALONE_MS / this.#promptMs.value) * this.#promptRows.value
    return Math.max(ROWS_ALONE, Math.floor(rows / ROWS_ALONE) * ROWS_ALONE)
  }

  /** Rows of which a step mostly takes what they take, and not what any step does; Infinity if that is unknown. */
  get efficientRows(): number {
    if (this.#rowMs.count === 0) return Number.POSITIVE_INFINITY
    const fixed = Math.max(0, this.#decodeMs.value - this.#slope * this.#decodeRows.value)
    return (ROWS_TO_FIXED * fixed) / this.#slope
  }

  /** The usual step without prompts; 0 while none is known. */
  get decodeMs(): number {
    return this.#decodeMs.value
  }

  /** How long to wait for a step before its engine is taken to hang. */
  deadlineMs({ decodeRows, promptRows }: StepRows): number {
    const rows = decodeRows + promptRows
    const known = promptRows > 0 ? this.#promptMs.count : this.#decodeMs.count
    const deadline = DEADLINE_FACTOR * this.#strain * this.#worst(rows)
    if (known < KNOWN_STEPS) return Math.max(deadline, PATIENCE_MS, PATIENCE_PER_ROW_MS * rows)
    return Math.max(deadline, this.#sizes.has(sizeOf(rows)) ? LEAST_DEADLINE_MS : NEW_SIZE_MS)
  }

  /** By whichever kind of step says more: a line through few points may lie. */
  #worst(rows: number): number {
    const byPrompts = this.#promptMs.count === 0 ? 0 : (this.#promptMs.value * rows) / this.#promptRows.value
    return Math.max(this.predict(rows), byPrompts)
  }
}

function sizeOf(rows: number): number {
  return Math.ceil(Math.log2(rows))
}
