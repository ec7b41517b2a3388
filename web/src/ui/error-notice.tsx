import type { ReactNode } from 'react'
import { Button } from './button.tsx'
import { IconRefresh, IconWarning } from './icons.tsx'

export interface ErrorNoticeProps {
  readonly title: string
  /** What happened, and what to do: the message of an error. */
  readonly children?: ReactNode
  readonly onRetry?: () => void
}

export function ErrorNotice({ title, children, onRetry }: ErrorNoticeProps): ReactNode {
  return (
    <div
      role="alert"
      className="flex flex-wrap items-start gap-3 rounded-xl border border-bad bg-bad-tint p-4 text-bad"
    >
      <IconWarning className="mt-1" />
      <div className="min-w-40 grow basis-0">
        <p className="font-semibold">{title}</p>
        {children !== undefined && <div className="text-sm text-ink">{children}</div>}
      </div>
      {onRetry !== undefined && (
        <Button size="sm" icon={<IconRefresh />} onClick={onRetry}>
          Try again
        </Button>
      )}
    </div>
  )
}
