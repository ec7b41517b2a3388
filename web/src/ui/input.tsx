import type { InputHTMLAttributes, ReactNode, Ref, TextareaHTMLAttributes } from 'react'
import { cx } from './class-names.ts'

export const CONTROL =
  'min-h-10 w-full rounded-lg border border-edge bg-surface px-3 py-1.5 text-ink placeholder:text-soft ' +
  'disabled:opacity-55 aria-invalid:border-bad'

export function Input({
  className,
  ...rest
}: InputHTMLAttributes<HTMLInputElement> & { readonly ref?: Ref<HTMLInputElement> }): ReactNode {
  return <input {...rest} className={cx(CONTROL, className)} />
}

export function TextArea({
  className,
  ...rest
}: TextareaHTMLAttributes<HTMLTextAreaElement> & { readonly ref?: Ref<HTMLTextAreaElement> }): ReactNode {
  return <textarea {...rest} className={cx(CONTROL, 'resize-y', className)} />
}
