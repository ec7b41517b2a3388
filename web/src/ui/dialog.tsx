import { type ReactNode, useEffect, useId, useRef } from 'react'
import { cx } from './class-names.ts'
import { IconButton } from './icon-button.tsx'
import { IconClose } from './icons.tsx'

export interface DialogProps {
  readonly title: string
  readonly isOpen: boolean
  readonly onClose: () => void
  readonly children: ReactNode
  /** Buttons, the main one last. */
  readonly actions?: ReactNode
  readonly isWide?: boolean
}

/** The browser's own: keeps the focus inside, closes by Escape, and gives the focus back. */
export function Dialog({
  title,
  isOpen,
  onClose,
  children,
  actions,
  isWide = false
}: DialogProps): ReactNode {
  const id = useId()
  const dialog = useRef<HTMLDialogElement>(null)
  useEffect(() => {
    if (isOpen && !dialog.current?.open) dialog.current?.showModal()
    if (!isOpen && dialog.current?.open) dialog.current.close()
  }, [isOpen])
  return (
    // biome-ignore lint/a11y/useKeyWithClickEvents: Escape does what a click beside it does
    <dialog
      ref={dialog}
      aria-labelledby={id}
      onClose={onClose}
      onClick={(event) => event.target === event.currentTarget && event.currentTarget.close()}
      className={cx(
        'm-auto max-h-[90dvh] w-[calc(100vw-2rem)] overflow-auto rounded-2xl border border-line bg-surface p-0 text-ink',
        isWide ? 'max-w-3xl' : 'max-w-md'
      )}
    >
      {isOpen && (
        <div className="flex flex-col gap-4 p-5">
          <header className="flex items-start justify-between gap-3">
            <h2 id={id} className="text-lg font-semibold">
              {title}
            </h2>
            <IconButton icon={<IconClose />} label="Close" onClick={() => dialog.current?.close()} />
          </header>
          {children}
          {actions !== undefined && <footer className="flex flex-wrap justify-end gap-2">{actions}</footer>}
        </div>
      )}
    </dialog>
  )
}
