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

/** A step with decode rows takes up to this many times what it would without prompts. */
const MOST_STRETCH = 2
/** However slow rows are, prompts advance, and tell what a row costs. */
const LEAST_PROMPT_ROWS = 2
/** With nobody to disturb, a step may be so long that whoever comes waits no longer than this. */
const ALONE_MS = 2_000
/** Rows of a prompt alone in a step come in multiples of this, so that the same prompt is mostly cut the same way. */
const ROWS_ALONE = 32
/** Rows of a prompt before anything is known: what consumers usually send in a frame. */
const FIRST_ROWS = 128
/** Steps in a row that may have prompt rows beside decode rows before one without them is measured again. */
const STEPS_PER_PROBE = 32

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
  /** Recent worst of measured to predicted, at least 1. */
  #strain = 1
  #stepsSinceDecode = 0
  readonly #sizes = new Set<number>()

  measured({ decodeRows, promptRows }: StepRows, ms: number): void {
    const rows = decodeRows + promptRows
    const predicted = this.predict(rows)
    if (predicted > 0) this.#strain = Math.max(1, this.#strain * STRAIN_DECAY, ms / predicted)
    this.#sizes.add(sizeOf(rows))
    if (promptRows > 0) {
      this.#promptMs.add(ms)
      this.#promptRows.add(rows)
      if (decodeRows > 0) this.#stepsSinceDecode += 1
    }
    const more = rows - this.#decodeRows.value
    if (this.#decodeMs.count > 0 && more >= Math.max(LEAST_PROMPT_ROWS, this.#decodeRows.value / 2)) {
      const mean = ms / rows
      const slope = (ms - this.#decodeMs.value) / more
      this.#rowMs.add(Math.min(mean, Math.max(slope, mean * LEAST_ROW_SHARE)))
    }
    if (promptRows === 0) {
      this.#decodeMs.add(ms)
      this.#decodeRows.add(decodeRows)
      this.#stepsSinceDecode = 0
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

  /** Prompt rows that a step with so many decode rows may have beside them; 0: measure it without, for once. */
  promptRowsBeside(decodeRows: number): number {
    if (this.#decodeMs.count === 0 || this.#stepsSinceDecode >= STEPS_PER_PROBE) return 0
    const extra = (this.predict(decodeRows) * (MOST_STRETCH - 1)) / this.#slope
    return Math.max(LEAST_PROMPT_ROWS, Math.floor(extra))
  }

  /** Prompt rows of a step of their own, while others decode that are back in `dueMs`. */
  promptRowsBetween(dueMs: number): number {
    if (this.#decodeMs.count === 0) return ROWS_ALONE
    const ms = Math.min(dueMs, ALONE_MS)
    return Math.max(LEAST_PROMPT_ROWS, Math.floor(this.#rowsWithin(ms)))
  }

  /** Prompt rows of a step while nobody decodes. */
  promptRowsAlone(): number {
    if (this.#promptMs.count === 0) return FIRST_ROWS
    const rows = (ALONE_MS / this.#promptMs.value) * this.#promptRows.value
    return Math.max(ROWS_ALONE, Math.floor(rows / ROWS_ALONE) * ROWS_ALONE)
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
