/** Pixels between what is pointed at and what is said of it, and to the window's edges. */
const GAP = 6

export type Align = 'start' | 'center' | 'end'

/** Puts a shown popover below its anchor, or above where there is more room, and inside the window. */
export function placeBy(anchor: Element, shown: HTMLElement, align: Align): void {
  const at = anchor.getBoundingClientRect()
  const { width, height } = shown.getBoundingClientRect()
  const below = innerHeight - at.bottom
  const isBelow = height + 2 * GAP <= below || below >= at.top
  const top = isBelow ? at.bottom + GAP : at.top - GAP - height
  const wanted = { start: at.left, center: at.left + (at.width - width) / 2, end: at.right - width }[align]
  const left = Math.min(Math.max(wanted, GAP), innerWidth - width - GAP)
  shown.style.inset = 'auto'
  shown.style.top = `${Math.max(top, GAP)}px`
  shown.style.left = `${Math.max(left, GAP)}px`
}
