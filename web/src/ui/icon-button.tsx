import type { ReactNode } from 'react'
import { Button, type ButtonProps } from './button.tsx'
import { cx } from './class-names.ts'
import { Tooltip } from './tooltip.tsx'

export interface IconButtonProps extends Omit<ButtonProps, 'children' | 'aria-label'> {
  readonly icon: ReactNode
  /** What it does: read out, and shown when pointed at. */
  readonly label: string
}

/** At least 32 pixels each way; phones get 44 by `className`. */
export function IconButton({
  label,
  size = 'sm',
  look = 'ghost',
  className,
  ...rest
}: IconButtonProps): ReactNode {
  const square = size === 'sm' ? 'size-8' : 'size-10'
  return (
    <Tooltip text={label}>
      <Button
        {...rest}
        size={size}
        look={look}
        aria-label={label}
        className={cx('shrink-0 !px-0', square, className)}
      />
    </Tooltip>
  )
}
