import { type ReactNode, useEffect, useEffectEvent } from 'react'
import { Dialog } from '../ui/index.ts'
import { COMPOSER } from './composer.tsx'
import type { Thread } from './thread.ts'

export interface ShortcutActions {
  readonly thread: Thread
  readonly startNew: () => void
  readonly toggleList: () => void
  readonly help: () => void
}

const isMac = /Mac|iP(hone|ad)/.test(globalThis.navigator?.userAgent ?? '')
const MOD = isMac ? '⌘' : 'Ctrl'

const LIST: readonly (readonly [keys: string, what: string])[] = [
  ['Enter', 'Send'],
  ['Shift Enter', 'New line'],
  ['Esc', 'Stop the answer'],
  [`${MOD} Shift O`, 'New chat'],
  [`${MOD} J`, 'Go to the message field'],
  [`${MOD} B`, 'Show or hide the conversations'],
  [`${MOD} /`, 'This help']
]

export function focusComposer(): void {
  document.getElementById(COMPOSER)?.focus()
}

export function useShortcuts(actions: ShortcutActions): void {
  const onKeyDown = useEffectEvent((event: KeyboardEvent) => {
    const action = actionOf(event, actions)
    // What is open closes by Escape first, and has its own keys.
    if (action === undefined || document.querySelector('dialog[open], :popover-open')) return
    event.preventDefault()
    action()
  })
  useEffect(() => {
    const listener = (event: KeyboardEvent): void => onKeyDown(event)
    addEventListener('keydown', listener)
    return () => removeEventListener('keydown', listener)
  }, [])
}

function actionOf(event: KeyboardEvent, { thread, startNew, toggleList, help }: ShortcutActions) {
  const { key, ctrlKey, metaKey, shiftKey, altKey } = event
  if (event.isComposing) return undefined
  if (key === 'Escape') return thread.answer === undefined ? undefined : () => thread.stop()
  if (altKey || !(isMac ? metaKey : ctrlKey)) return undefined
  if (shiftKey) return key.toLowerCase() === 'o' ? startNew : undefined
  return { j: focusComposer, b: toggleList, '/': help }[key.toLowerCase()]
}

interface ShortcutsDialogProps {
  readonly isOpen: boolean
  readonly onClose: () => void
}

export function ShortcutsDialog({ isOpen, onClose }: ShortcutsDialogProps): ReactNode {
  return (
    <Dialog title="Keyboard shortcuts" isOpen={isOpen} onClose={onClose}>
      <dl className="grid grid-cols-[auto_1fr] gap-x-6 gap-y-2">
        {LIST.map(([keys, what]) => (
          <div key={keys} className="contents">
            <dt className="flex gap-1">
              {keys.split(' ').map((key) => (
                <kbd key={key} className="rounded border border-edge bg-sunken px-1.5 font-mono text-sm">
                  {key}
                </kbd>
              ))}
            </dt>
            <dd>{what}</dd>
          </div>
        ))}
      </dl>
    </Dialog>
  )
}
