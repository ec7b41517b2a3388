/** Drawn on a grid of 24, as large as the text beside them, in its colour; never the only bearer of a meaning. */
import type { ReactNode } from 'react'
import { cx } from './class-names.ts'

interface IconProps {
  readonly className?: string
}

/** Strokes only, as SVG's path data. */
function icon(path: string): (props: IconProps) => ReactNode {
  return ({ className }) => (
    <svg
      viewBox="0 0 24 24"
      aria-hidden="true"
      fill="none"
      stroke="currentColor"
      strokeWidth="2"
      strokeLinecap="round"
      strokeLinejoin="round"
      width="1.15em"
      height="1.15em"
      className={cx('shrink-0', className)}
    >
      <path d={path} />
    </svg>
  )
}

export const IconArrowDown = icon('M12 5v14M6 13l6 6 6-6')
export const IconArrowUp = icon('M12 19V5M6 11l6-6 6 6')
export const IconAttach = icon(
  'M20 11.5l-8.5 8.5a5 5 0 0 1-7-7l9-9a3.4 3.4 0 0 1 4.8 4.800l-8.8 8.800a1.7 1.7 0 0 1-2.4-2.400l8-8'
)
export const IconChat = icon('M21 12a8 8 0 0 1-8 8H4l2-3.5A8 8 0 1 1 21 12z')
export const IconCheck = icon('M5 12.5l4.5 4.5L19 7.5')
export const IconChevronDown = icon('M6 9l6 6 6-6')
export const IconChevronLeft = icon('M15 6l-6 6 6 6')
export const IconChevronRight = icon('M9 6l6 6-6 6')
export const IconClose = icon('M6 6l12 12M18 6L6 18')
export const IconCopy = icon('M9 9h11v11H9zM5 15H4V4h11v1')
export const IconDownload = icon('M12 4v11M7 11l5 5 5-5M4 20h16')
export const IconEdit = icon('M4 20h4L19 9l-4-4L4 16zM13 7l4 4')
export const IconFish = icon('M3 8v8l4.5-4zM7.5 12c3-5 9.5-6 13.5 0c-4 6-10.5 5-13.5 0zM16.5 11v.01')
export const IconInfo = icon('M12 3a9 9 0 1 0 0 18a9 9 0 0 0 0-18M12 11v5M12 8v.01')
export const IconMenu = icon('M4 7h16M4 12h16M4 17h16')
export const IconMonitor = icon('M3 5h18v11H3zM8 20h8M12 16v4')
export const IconMoon = icon('M20 14.5A8.5 8.5 0 0 1 9.5 4a8.5 8.5 0 1 0 10.5 10.5z')
export const IconMore = icon('M5 12h.01M12 12h.01M19 12h.01')
export const IconNode = icon('M4 5h16v6H4zM4 13h16v6H4zM8 8v.01M8 16v.01')
export const IconPause = icon('M8 5v14M16 5v14')
export const IconPlay = icon('M7 5l12 7-12 7z')
export const IconPlus = icon('M12 5v14M5 12h14')
export const IconRefresh = icon('M20 11A8 8 0 1 0 18 17M20 4v7h-7')
export const IconSettings = icon(
  'M4 7h9M19 7h1M4 17h1M11 17h9M16 4.5a2.5 2.5 0 1 0 0 5a2.5 2.5 0 0 0 0-5M8 14.5a2.5 2.5 0 1 0 0 5a2.5 2.5 0 0 0 0-5'
)
export const IconStop = icon('M6 6h12v12H6z')
export const IconSun = icon(
  'M12 8a4 4 0 1 0 0 8a4 4 0 0 0 0-8M12 2v2M12 20v2M2 12h2M20 12h2M5 5l1.5 1.5M17.5 17.5L19 19M5 19l1.5-1.5M17.5 6.5L19 5'
)
export const IconSwarm = icon(
  'M5 5a2 2 0 1 0 .01 0M19 7a2 2 0 1 0 .01 0M10 16a2 2 0 1 0 .01 0M7 7.5l10 1M6 9l3.5 7M17.5 10.5L11.5 17'
)
export const IconTrash = icon('M4 7h16M9 7V4h6v3M6 7l1 13h10l1-13')
export const IconUpload = icon('M12 16V5M7 9l5-5 5 5M4 20h16')
export const IconWarning = icon('M12 4L2.5 20h19zM12 10v4M12 17v.01')
