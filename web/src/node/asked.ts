/** Whether this browser's person has been asked to share: once is enough. */
const KEY = 'shoal.asked'

export function wasAsked(): boolean {
  try {
    return localStorage.getItem(KEY) !== null
  } catch {
    return true // it could not be kept that they were, and nobody wants to be asked each time
  }
}

export function setAsked(): void {
  try {
    localStorage.setItem(KEY, new Date().toISOString())
  } catch {
    // see above
  }
}
