import type { ReactNode } from 'react'

/** How far something is, from 0 to 1; without a value, that it goes on. */
export function ProgressBar({
  label,
  value
}: {
  readonly label: string
  readonly value?: number | undefined
}): ReactNode {
  const percent = value === undefined ? undefined : Math.round(Math.min(Math.max(value, 0), 1) * 100)
  return (
    <div
      role="progressbar"
      aria-label={label}
      aria-valuemin={0}
      aria-valuemax={100}
      aria-valuenow={percent}
      className="h-2 overflow-hidden rounded-full border border-edge bg-sunken"
    >
      <div
        className={percent === undefined ? 'h-full w-1/3 animate-pulse bg-accent' : 'h-full bg-accent'}
        style={percent === undefined ? undefined : { width: `${percent}%` }}
      />
    </div>
  )
}
