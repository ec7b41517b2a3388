/** Pages in the background paint nothing: there it is this often, in milliseconds. */
const HIDDEN_MS = 250

/** Runs it before the next picture is painted. */
export function nextFrame(work: () => void): void {
  if (document.visibilityState === 'hidden') setTimeout(work, HIDDEN_MS)
  else requestAnimationFrame(work)
}
