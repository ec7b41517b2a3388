import type { ReactNode } from 'react'
import { cx } from './class-names.ts'

/** Something is on the way. With a label it says so to those who can't see it. */
export function Spinner({
  label,
  className
}: {
  readonly label?: string
  readonly className?: string
}): ReactNode {
  return (
    <span
      role={label === undefined ? undefined : 'status'}
      className={cx('inline-flex items-center gap-2', className)}
    >
      <span
        aria-hidden="true"
        className="inline-block size-4 animate-spin rounded-full border-2 border-current border-r-transparent"
      />
      {label !== undefined && <span>{label}</span>}
    </span>
  )
}
