import { type KeyboardEvent, type ReactNode, useId } from 'react'
import { cx } from './class-names.ts'

export interface Tab {
  readonly id: string
  readonly label: string
  readonly content: () => ReactNode
}

export interface TabsProps {
  readonly label: string
  readonly tabs: readonly Tab[]
  readonly chosen: string
  readonly onChange: (id: string) => void
}

/** Arrows choose, as the ARIA practices have it. */
export function Tabs({ label, tabs, chosen, onChange }: TabsProps): ReactNode {
  const id = useId()
  const index = Math.max(
    tabs.findIndex((tab) => tab.id === chosen),
    0
  )
  const step = (event: KeyboardEvent<HTMLElement>): void => {
    const by = { ArrowRight: 1, ArrowLeft: -1 }[event.key]
    if (by === undefined) return
    const next = tabs[(index + by + tabs.length) % tabs.length]
    if (next === undefined) return
    onChange(next.id)
    document.getElementById(`${id}-${next.id}`)?.focus()
  }
  return (
    <div className="flex flex-col gap-4">
      <div
        role="tablist"
        aria-label={label}
        onKeyDown={step}
        className="flex flex-wrap gap-1 border-b border-line"
      >
        {tabs.map((tab, at) => (
          <button
            key={tab.id}
            type="button"
            role="tab"
            id={`${id}-${tab.id}`}
            aria-selected={at === index}
            aria-controls={`${id}-panel`}
            tabIndex={at === index ? 0 : -1}
            onClick={() => onChange(tab.id)}
            className={cx(
              '-mb-px min-h-10 border-b-2 px-3 font-medium',
              at === index ? 'border-accent text-ink' : 'border-transparent text-soft hover:text-ink'
            )}
          >
            {tab.label}
          </button>
        ))}
      </div>
      <div role="tabpanel" id={`${id}-panel`} aria-labelledby={`${id}-${tabs[index]?.id}`}>
        {tabs[index]?.content()}
      </div>
    </div>
  )
}
