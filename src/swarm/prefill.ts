/** How consumers cut prompts. */

/**
 * Rows per frame: an eighth of what is left, so that all stages and links work at once, also at a prompt's end and where
 * it is short; few enough, as a row costs a CPU no less in larger ones, and enough for matrix products (docs/WAN.md,
 * Prompts).
 */
const ROWS = { least: 16, most: 64 }
const FRAMES = 8

/** Rows of the next frame of a prompt of which `left` rows have not left. */
export function prefillRows(left: number): number {
  return Math.min(left, ROWS.most, Math.max(ROWS.least, Math.ceil(left / FRAMES)))
}
