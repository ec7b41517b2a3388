/** Light, dark, or as the system has it. `public/theme.js` sets it before anything is painted. */
import { useSyncExternalStore } from 'react'

export type Theme = 'light' | 'dark' | 'system'

const KEY = 'shoal.theme'
const listeners = new Set<() => void>()
const darkSystem = (): MediaQueryList => matchMedia('(prefers-color-scheme: dark)')

function stored(): Theme {
  try {
    const value = localStorage.getItem(KEY)
    return value === 'light' || value === 'dark' ? value : 'system'
  } catch {
    return 'system' // no storage, such as in a private window
  }
}

let theme: Theme | undefined

function apply(): void {
  const isDark = theme === 'dark' || (theme !== 'light' && darkSystem().matches)
  document.documentElement.dataset.theme = isDark ? 'dark' : 'light'
  for (const listener of listeners) listener()
}

export function setTheme(next: Theme): void {
  theme = next
  try {
    if (next === 'system') localStorage.removeItem(KEY)
    else localStorage.setItem(KEY, next)
  } catch {
    // holds until the page is left
  }
  apply()
}

function subscribe(listener: () => void): () => void {
  const system = darkSystem()
  listeners.add(listener)
  system.addEventListener('change', apply)
  return () => {
    listeners.delete(listener)
    if (listeners.size === 0) system.removeEventListener('change', apply)
  }
}

/** What the person chose. */
export function useTheme(): Theme {
  return useSyncExternalStore(subscribe, () => (theme ??= stored()))
}

/** What is shown now, for what is drawn and not styled. */
export function useIsDark(): boolean {
  return useSyncExternalStore(subscribe, () => document.documentElement.dataset.theme === 'dark')
}
