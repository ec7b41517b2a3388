/** What commands say beside their results, on standard error. */

let isQuiet = false

/** Set once, before a command runs: warnings and errors are said nevertheless. */
export function beQuiet(quiet: boolean): void {
  isQuiet = quiet
}

export function mayChat(): boolean {
  return !isQuiet
}

/** Of use to people only: "shoal list > file" has none of it. */
export function note(message: string): void {
  if (!isQuiet) console.error(message)
}
