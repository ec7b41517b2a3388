import type { ReactNode } from 'react'
import { cx } from './class-names.ts'

const TONES = {
  plain: 'bg-sunken text-soft',
  accent: 'bg-tint text-accent-strong',
  good: 'bg-good-tint text-good',
  warn: 'bg-warn-tint text-warn',
  bad: 'bg-bad-tint text-bad'
} as const

export type Tone = keyof typeof TONES

/** A word about something. Its colour says nothing that the word does not. */
export function Badge({
  tone = 'plain',
  children
}: {
  readonly tone?: Tone
  readonly children: ReactNode
}): ReactNode {
  return (
    <span
      className={cx(
        'inline-flex items-center gap-1 rounded-full px-2 py-0.5 text-xs font-medium',
        TONES[tone]
      )}
    >
      {children}
    </span>
  )
}
