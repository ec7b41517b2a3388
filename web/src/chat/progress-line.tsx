import type { ReactNode } from 'react'
import { Spinner } from '../ui/index.ts'
import type { Answer, Progress } from './answer.ts'
import { useNow } from './hooks.ts'
import { seconds } from './rate.ts'

/** What it does, in words. */
export function phaseOf({ phase, position }: Progress): string {
  switch (phase) {
    case 'sending':
      return 'Looking for a chain of nodes'
    case 'queued':
      return `Waiting in the queue, position ${position}`
    case 'reading':
      return 'Reading the prompt'
    case 'thinking':
      return 'Thinking'
    case 'writing':
      return 'Writing'
    case 'repairing':
      return 'A node was lost: looking for another'
  }
}

export function ProgressLine({ answer }: { readonly answer: Answer }): ReactNode {
  const now = useNow(250)
  const { phase, since } = answer.progress
  const rate = answer.rate
  const isComing = phase === 'writing' || phase === 'thinking'
  return (
    <p className="flex items-center gap-2 text-sm text-soft">
      <Spinner />
      {phaseOf(answer.progress)}
      <span className="tabular-nums">
        {isComing
          ? rate !== undefined && `· ${rate.toFixed(rate < 10 ? 1 : 0)} tokens/s`
          : `· ${seconds(Math.max(0, now - since))}`}
      </span>
    </p>
  )
}
