import type { ReactNode, SelectHTMLAttributes } from 'react'
import { cx } from './class-names.ts'
import { CONTROL } from './input.tsx'

export interface SelectProps extends Omit<SelectHTMLAttributes<HTMLSelectElement>, 'onChange'> {
  readonly options: readonly { readonly value: string; readonly label: string }[]
  readonly onChange: (value: string) => void
}

/** The browser's own: right on phones and for screen readers. */
export function Select({ options, onChange, className, ...rest }: SelectProps): ReactNode {
  return (
    <select
      {...rest}
      onChange={(event) => onChange(event.target.value)}
      className={cx(CONTROL, 'pr-8', className)}
    >
      {options.map(({ value, label }) => (
        <option key={value} value={value}>
          {label}
        </option>
      ))}
    </select>
  )
}
