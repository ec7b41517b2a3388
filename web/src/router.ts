/** Four pages, so no library: the address bar is the state, and whoever shows it subscribes. */
import { useSyncExternalStore } from 'react'

export type Page = 'chat' | 'swarm' | 'node' | 'start'

const PAGES: Readonly<Record<string, Page>> = {
  '/': 'chat',
  '/swarm': 'swarm',
  '/node': 'node',
  '/start': 'start'
}

/** The page at a path; undefined: there is none. */
export function pageAt(path: string): Page | undefined {
  return PAGES[path.length > 1 ? path.replace(/\/+$/, '') : path]
}

const listeners = new Set<() => void>()
const tell = (): void => {
  for (const listener of listeners) listener()
}

function subscribe(listener: () => void): () => void {
  if (listeners.size === 0) window.addEventListener('popstate', tell)
  listeners.add(listener)
  return () => {
    listeners.delete(listener)
    if (listeners.size === 0) window.removeEventListener('popstate', tell)
  }
}

/** To a path of this app, with its query, such as `/swarm?model=demo`. */
export function navigate(to: string, { replace = false } = {}): void {
  if (replace) history.replaceState(null, '', to)
  else history.pushState(null, '', to)
  tell()
}

export function usePath(): string {
  return useSyncExternalStore(subscribe, () => location.pathname)
}

export function useQueryString(): string {
  return useSyncExternalStore(subscribe, () => location.search)
}

/** The query with a parameter set, or without it where the value is empty: '' or '?...'. */
export function withParameter(query: string, name: string, value: string): string {
  const parameters = new URLSearchParams(query)
  if (value === '') parameters.delete(name)
  else parameters.set(name, value)
  const text = parameters.toString()
  return text === '' ? '' : `?${text}`
}

/** A parameter of the address, so that what is looked at can be shared; '' where it is absent. */
export function useParameter(name: string): readonly [string, (value: string) => void] {
  const query = useQueryString()
  const value = new URLSearchParams(query).get(name) ?? ''
  const set = (next: string): void =>
    navigate(location.pathname + withParameter(location.search, name, next), { replace: true })
  return [value, set]
}

/** Whether the browser should follow the link itself: a new tab, a download, another button. */
export function isPlainClick(event: {
  button: number
  metaKey: boolean
  ctrlKey: boolean
  shiftKey: boolean
  altKey: boolean
  defaultPrevented: boolean
}): boolean {
  const { button, metaKey, ctrlKey, shiftKey, altKey, defaultPrevented } = event
  return button === 0 && !metaKey && !ctrlKey && !shiftKey && !altKey && !defaultPrevented
}
