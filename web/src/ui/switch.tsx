import { type ReactNode, useId } from 'react'
import { cx } from './class-names.ts'

export interface SwitchProps {
  readonly label: ReactNode
  readonly hint?: ReactNode
  readonly isOn: boolean
  readonly onChange: (isOn: boolean) => void
  readonly isDisabled?: boolean
  /** Waits for an answer; shows already what was asked for. */
  readonly isBusy?: boolean
}

/** On or off, at once. */
export function Switch({
  label,
  hint,
  isOn,
  onChange,
  isDisabled = false,
  isBusy = false
}: SwitchProps): ReactNode {
  const id = useId()
  return (
    <div className="flex items-start justify-between gap-4">
      <span className="flex flex-col">
        <span id={id} className="font-medium">
          {label}
        </span>
        {hint !== undefined && (
          <span id={`${id}-hint`} className="text-sm text-soft">
            {hint}
          </span>
        )}
      </span>
      <button
        type="button"
        role="switch"
        aria-checked={isOn}
        aria-busy={isBusy || undefined}
        aria-labelledby={id}
        aria-describedby={hint === undefined ? undefined : `${id}-hint`}
        disabled={isDisabled}
        onClick={() => !isBusy && onChange(!isOn)}
        className={cx(
          'relative h-7 w-12 shrink-0 rounded-full border-2 transition-colors disabled:opacity-55',
          isOn ? 'border-accent bg-accent' : 'border-edge bg-sunken'
        )}
      >
        <span
          aria-hidden="true"
          className={cx(
            'absolute top-0.5 left-0.5 size-5 rounded-full transition-transform',
            isOn ? 'translate-x-5 bg-on-accent' : 'bg-edge',
            isBusy && 'animate-pulse'
          )}
        />
      </button>
    </div>
  )
}
