import { type ReactNode, useEffect, useState } from 'react'
import type { Message } from './messages.ts'
import { seconds } from './rate.ts'

/** Open while it comes, folded when the answer begins, and then as the person wants it. */
export function Reasoning({ message }: { readonly message: Message }): ReactNode {
  const { reasoning, reasoningMs, state } = message
  const isThinking = state === 'answering' && reasoningMs === undefined
  const [isOpen, setOpen] = useState(isThinking)
  useEffect(() => setOpen(isThinking), [isThinking])
  return (
    <details
      open={isOpen}
      onToggle={(event) => setOpen(event.currentTarget.open)}
      className="rounded-xl border border-line bg-sunken px-3 py-1.5 text-sm"
    >
      <summary className="text-soft">
        {isThinking
          ? 'Thinking…'
          : `Thought${reasoningMs === undefined ? '' : ` for ${seconds(reasoningMs)}`}`}
      </summary>
      <p className="max-h-80 overflow-y-auto pt-1.5 whitespace-pre-wrap text-soft">{reasoning}</p>
    </details>
  )
}
