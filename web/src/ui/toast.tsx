/** Short news that go by themselves. `toast('Copied')` from anywhere; `<Toasts />` once, in the frame. */
import { type ReactNode, useSyncExternalStore } from 'react'
import { cx } from './class-names.ts'
import { IconButton } from './icon-button.tsx'
import { IconClose } from './icons.tsx'

interface Toast {
  readonly id: number
  readonly text: string
  readonly isError: boolean
}

/** Long enough to read two lines. Errors stay until they are closed. */
const SHOWN_MS = 5_000
const MAX_SHOWN = 3

let toasts: readonly Toast[] = []
let lastId = 0
const listeners = new Set<() => void>()

function set(next: readonly Toast[]): void {
  toasts = next
  for (const listener of listeners) listener()
}

const close = (id: number): void => set(toasts.filter((toast) => toast.id !== id))

export function toast(text: string, { isError = false } = {}): void {
  const id = ++lastId
  const others = toasts.filter((shown) => shown.text !== text)
  set([...others, { id, text, isError }].slice(-MAX_SHOWN))
  if (!isError) setTimeout(() => close(id), SHOWN_MS)
}

function subscribe(listener: () => void): () => void {
  listeners.add(listener)
  return () => listeners.delete(listener)
}

export function Toasts(): ReactNode {
  const shown = useSyncExternalStore(subscribe, () => toasts)
  return (
    <div
      role="status"
      className="pointer-events-none fixed inset-x-3 top-3 z-50 mx-auto flex max-w-md flex-col gap-2"
    >
      {shown.map(({ id, text, isError }) => (
        <div
          key={id}
          className={cx(
            'pointer-events-auto flex items-start justify-between gap-2 rounded-xl border px-3 py-2 shadow-lg',
            isError ? 'border-bad bg-bad-tint text-bad' : 'border-line bg-surface text-ink'
          )}
        >
          <p className="py-1 text-sm">{text}</p>
          <IconButton icon={<IconClose />} label="Dismiss" onClick={() => close(id)} />
        </div>
      ))}
    </div>
  )
}
