import type { ReactNode } from 'react'

export interface EmptyStateProps {
  readonly icon?: ReactNode
  readonly title: string
  /** What would change that. */
  readonly children?: ReactNode
  readonly action?: ReactNode
}

/** Nothing is there, and why. */
export function EmptyState({ icon, title, children, action }: EmptyStateProps): ReactNode {
  return (
    <div className="mx-auto flex max-w-md flex-col items-center gap-3 px-4 py-10 text-center">
      {icon !== undefined && <span className="text-3xl text-accent">{icon}</span>}
      <p className="text-lg font-semibold">{title}</p>
      {children !== undefined && <div className="text-soft">{children}</div>}
      {action}
    </div>
  )
}
