/** What is not React's, for React: threads, messages, time. */
import { useCallback, useEffect, useState, useSyncExternalStore } from 'react'
import type { Message } from './messages.ts'
import type { Thread } from './thread.ts'

/** Draws again when the conversation, its settings or which messages are shown have changed; not for their texts. */
export function useThread(thread: Thread): void {
  useSyncExternalStore(thread.subscribe, () => thread.version)
}

export function useMessage(thread: Thread, id: string): Message | undefined {
  const subscribe = useCallback((listener: () => void) => thread.subscribeTo(id, listener), [thread, id])
  return useSyncExternalStore(subscribe, () => thread.message(id))
}

/** Now, in milliseconds since 1970, every so often while it matters. */
export function useNow(everyMs: number, isNeeded = true): number {
  const [now, setNow] = useState(Date.now)
  useEffect(() => {
    if (!isNeeded) return
    setNow(Date.now())
    const timer = setInterval(() => setNow(Date.now()), everyMs)
    return () => clearInterval(timer)
  }, [everyMs, isNeeded])
  return now
}

export function useMedia(query: string): boolean {
  const subscribe = useCallback(
    (listener: () => void) => {
      const media = matchMedia(query)
      media.addEventListener('change', listener)
      return () => media.removeEventListener('change', listener)
    },
    [query]
  )
  return useSyncExternalStore(subscribe, () => matchMedia(query).matches)
}
