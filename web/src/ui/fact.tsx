import type { ReactNode } from 'react'

/** A number and what it is of; inside a `<dl>`. */
export function Fact({
  label,
  children,
  note
}: {
  readonly label: string
  readonly children: ReactNode
  readonly note?: string | undefined
}): ReactNode {
  return (
    <div className="min-w-28">
      <dt className="text-sm text-soft">{label}</dt>
      <dd className="text-xl font-semibold tabular-nums">{children}</dd>
      {note !== undefined && <dd className="text-sm text-soft">{note}</dd>}
    </div>
  )
}
