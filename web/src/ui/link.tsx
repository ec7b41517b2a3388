import type { AnchorHTMLAttributes, ReactNode } from 'react'
import { isPlainClick, navigate } from '../router.ts'

export interface LinkProps extends AnchorHTMLAttributes<HTMLAnchorElement> {
  /** A path of this app, with its query. */
  readonly to: string
}

/** To another page of this app, without loading it anew. */
export function Link({ to, onClick, children, ...rest }: LinkProps): ReactNode {
  return (
    <a
      {...rest}
      href={to}
      onClick={(event) => {
        onClick?.(event)
        if (!isPlainClick(event)) return
        event.preventDefault()
        navigate(to)
      }}
    >
      {children}
    </a>
  )
}
