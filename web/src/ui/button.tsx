import type { ButtonHTMLAttributes, ReactNode, Ref } from 'react'
import { cx } from './class-names.ts'
import { Spinner } from './spinner.tsx'

const LOOKS = {
  primary: 'bg-accent text-on-accent hover:bg-accent-strong border-transparent',
  secondary: 'bg-surface text-ink border-edge hover:bg-sunken',
  ghost: 'border-transparent text-ink hover:bg-sunken',
  danger: 'bg-surface text-bad border-bad hover:bg-bad-tint'
} as const

const SIZES = { sm: 'min-h-8 px-2.5 text-sm', md: 'min-h-10 px-4' } as const

export interface ButtonProps extends ButtonHTMLAttributes<HTMLButtonElement> {
  readonly look?: keyof typeof LOOKS
  readonly size?: keyof typeof SIZES
  readonly icon?: ReactNode
  /** Waits for an answer: can't be pressed again, but keeps the focus. */
  readonly busy?: boolean
  readonly ref?: Ref<HTMLButtonElement>
}

export function Button(props: ButtonProps): ReactNode {
  const { look = 'secondary', size = 'md', icon, busy = false, className, children, onClick, ...rest } = props
  const isOff = busy || rest['aria-disabled'] === true
  return (
    <button
      type="button"
      {...rest}
      aria-busy={busy || undefined}
      aria-disabled={isOff || undefined}
      onClick={isOff ? (event) => event.preventDefault() : onClick}
      className={cx(
        'inline-flex items-center justify-center gap-2 rounded-lg border font-medium transition-colors',
        'disabled:cursor-not-allowed disabled:opacity-55 aria-disabled:cursor-not-allowed aria-disabled:opacity-70',
        LOOKS[look],
        SIZES[size],
        className
      )}
    >
      {busy ? <Spinner /> : icon}
      {children}
    </button>
  )
}
