import { type ReactNode, useRef } from 'react'
import { placeBy } from './place.ts'

/** A few words beside what is pointed at or focused. They name it already: this is for eyes only. */
export function Tooltip({
  text,
  children
}: {
  readonly text: string
  readonly children: ReactNode
}): ReactNode {
  const tip = useRef<HTMLSpanElement>(null)
  const show = (target: HTMLElement): void => {
    const anchor = target.firstElementChild
    // Later, since a menu that closes gives the focus back while it can't be interrupted.
    requestAnimationFrame(() => {
      const shown = tip.current
      if (shown === null || !anchor?.matches(':hover, :focus-visible') || shown.matches(':popover-open'))
        return
      shown.showPopover()
      placeBy(anchor, shown, 'center')
    })
  }
  const hide = (): void => tip.current?.hidePopover()
  return (
    // biome-ignore lint/a11y/noStaticElementInteractions: what is inside is the control; this only looks on
    <span
      className="contents"
      onPointerEnter={(event) => event.pointerType === 'mouse' && show(event.currentTarget)}
      onPointerLeave={hide}
      onFocus={(event) => event.target.matches(':focus-visible') && show(event.currentTarget)}
      onBlur={hide}
      onKeyDown={(event) => event.key === 'Escape' && hide()}
    >
      {children}
      <span
        ref={tip}
        popover="manual"
        aria-hidden="true"
        className="pointer-events-none fixed m-0 max-w-60 rounded-md border border-line bg-ink px-2 py-1 text-xs text-ground"
      >
        {text}
      </span>
    </span>
  )
}
