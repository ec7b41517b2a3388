import { type ReactNode, useId, useRef, useState } from 'react'
import { cx } from './class-names.ts'
import { type Align, placeBy } from './place.ts'

/** What a button needs to open something. */
export interface Opener {
  readonly popoverTarget: string
  readonly 'aria-expanded': boolean
  readonly 'aria-haspopup': 'dialog' | 'menu'
}

export interface PopoverProps {
  /** Read out when it opens. */
  readonly label: string
  readonly button: (opener: Opener) => ReactNode
  readonly children: (close: () => void) => ReactNode
  readonly align?: Align
  readonly role?: 'dialog' | 'menu'
  readonly className?: string
}

/** Opens beside its button, and closes by Escape, a click elsewhere, or `close`: the browser's own popover. */
export function Popover({
  label,
  button,
  children,
  align = 'start',
  role = 'dialog',
  className
}: PopoverProps): ReactNode {
  const id = useId()
  const anchor = useRef<HTMLSpanElement>(null)
  const shown = useRef<HTMLDivElement>(null)
  const [isOpen, setOpen] = useState(false)
  const place = (): void => {
    const from = anchor.current?.querySelector('[popovertarget]')
    if (from && shown.current) placeBy(from, shown.current, align)
    const first = shown.current?.querySelector<HTMLElement>(
      '[autofocus], [role^="menuitem"], input, button, a'
    )
    first?.focus()
  }
  return (
    <>
      <span ref={anchor} className="contents">
        {button({ popoverTarget: id, 'aria-expanded': isOpen, 'aria-haspopup': role })}
      </span>
      {/* biome-ignore lint/a11y/useAriaPropsSupportedByRole: both roles have labels */}
      <div
        ref={shown}
        id={id}
        popover="auto"
        role={role}
        aria-label={label}
        onToggle={(event) => {
          setOpen(event.newState === 'open')
          if (event.newState === 'open') requestAnimationFrame(place)
        }}
        className={cx(
          'fixed m-0 max-h-[80dvh] max-w-[calc(100vw-12px)] overflow-auto rounded-xl border border-line',
          'bg-surface text-ink shadow-lg',
          className
        )}
      >
        {isOpen && children(() => shown.current?.hidePopover())}
      </div>
    </>
  )
}
