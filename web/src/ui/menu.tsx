import type { KeyboardEvent, ReactNode } from 'react'
import { cx } from './class-names.ts'
import { IconCheck } from './icons.tsx'
import type { Align } from './place.ts'
import { type Opener, Popover } from './popover.tsx'

export interface MenuItem {
  readonly label: string
  readonly onSelect: () => void
  readonly icon?: ReactNode
  /** One of a choice; the chosen one is marked. */
  readonly isChosen?: boolean
  readonly isDanger?: boolean
  readonly isDisabled?: boolean
}

export interface MenuProps {
  readonly label: string
  readonly button: (opener: Opener) => ReactNode
  readonly items: readonly MenuItem[]
  readonly align?: Align
}

const STEPS: Readonly<Record<string, (index: number, last: number) => number>> = {
  ArrowDown: (index, last) => (index === last ? 0 : index + 1),
  ArrowUp: (index, last) => (index <= 0 ? last : index - 1),
  Home: () => 0,
  End: (_index, last) => last
}

function move(event: KeyboardEvent<HTMLElement>): void {
  const step = STEPS[event.key]
  if (step === undefined) return
  event.preventDefault()
  const items = [...event.currentTarget.querySelectorAll<HTMLElement>('[role^="menuitem"]:not(:disabled)')]
  const index = items.indexOf(document.activeElement as HTMLElement)
  items[step(index, items.length - 1)]?.focus()
}

/** Arrows, Home and End move, Escape closes. */
export function Menu({ label, button, items, align }: MenuProps): ReactNode {
  return (
    <Popover label={label} button={button} align={align ?? 'start'} role="menu" className="min-w-44 p-1">
      {(close) => (
        <div role="none" onKeyDown={move}>
          {items.map((item) => (
            // biome-ignore lint/a11y/useAriaPropsSupportedByRole: it is a menuitemradio where it is checked
            <button
              key={item.label}
              type="button"
              tabIndex={-1}
              role={item.isChosen === undefined ? 'menuitem' : 'menuitemradio'}
              aria-checked={item.isChosen}
              disabled={item.isDisabled}
              onClick={() => {
                close()
                item.onSelect()
              }}
              className={cx(
                'flex min-h-10 w-full items-center gap-2.5 rounded-lg px-3 text-left text-sm',
                'hover:bg-sunken focus-visible:bg-sunken disabled:opacity-55',
                item.isDanger && 'text-bad'
              )}
            >
              {item.icon}
              <span className="grow">{item.label}</span>
              {item.isChosen && <IconCheck />}
            </button>
          ))}
        </div>
      )}
    </Popover>
  )
}
