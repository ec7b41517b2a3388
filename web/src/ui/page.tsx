import type { ReactNode } from 'react'

/** A page that is read from top to bottom. */
export function PageBody({
  title,
  aside,
  children
}: {
  readonly title: string
  /** Beside the heading. */
  readonly aside?: ReactNode
  readonly children: ReactNode
}): ReactNode {
  return (
    <div className="mx-auto flex w-full max-w-6xl flex-col gap-5 p-4 md:p-8">
      <header className="flex flex-wrap items-center justify-between gap-x-4 gap-y-2">
        <h1 className="text-2xl font-semibold">{title}</h1>
        {aside}
      </header>
      {children}
    </div>
  )
}

/** A part of a page, with its heading. */
export function Section({
  title,
  aside,
  children
}: {
  readonly title: string
  readonly aside?: ReactNode
  readonly children: ReactNode
}): ReactNode {
  return (
    <section
      aria-label={title}
      className="flex flex-col gap-3 rounded-2xl border border-line bg-surface p-4 md:p-5"
    >
      <div className="flex flex-wrap items-center justify-between gap-2">
        <h2 className="text-lg font-semibold">{title}</h2>
        {aside}
      </div>
      {children}
    </section>
  )
}
