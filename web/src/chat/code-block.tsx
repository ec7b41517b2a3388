import { memo, type ReactNode, useState } from 'react'
import { IconButton, IconCheck, IconCopy } from '../ui/index.ts'
import { copy } from './copy.ts'
import { highlight } from './highlight.ts'

interface CodeBlockProps {
  readonly code: string
  readonly language: string
  /** Its end has not come yet: colours wait for it. */
  readonly isIncomplete: boolean
}

/** How long it says that it was copied, in milliseconds. */
const COPIED_MS = 2_000

export const CodeBlock = memo(function CodeBlock({
  code,
  language,
  isIncomplete
}: CodeBlockProps): ReactNode {
  const parts = isIncomplete ? [{ kind: 'plain', text: code, at: 0 }] : highlight(code, language)
  return (
    <figure className="my-3 overflow-hidden rounded-xl border border-line bg-sunken">
      <figcaption className="flex items-center justify-between border-b border-line py-0.5 pr-1 pl-3 text-xs text-soft">
        <span className="font-mono">{language || 'text'}</span>
        <CopyButton text={code} />
      </figcaption>
      {/* biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls has to be reached by keyboard */}
      <pre tabIndex={0} className="max-h-[70dvh] overflow-auto p-3 font-mono text-[0.85em] leading-relaxed">
        <code>
          {parts.map(({ kind, text, at }) =>
            kind === 'plain' ? (
              text
            ) : (
              <span key={at} className={`code-${kind}`}>
                {text}
              </span>
            )
          )}
        </code>
      </pre>
    </figure>
  )
})

export function CopyButton({
  text,
  label = 'Copy code'
}: {
  readonly text: string
  readonly label?: string
}): ReactNode {
  const [isCopied, setCopied] = useState(false)
  const onClick = async (): Promise<void> => {
    if (!(await copy(text))) return
    setCopied(true)
    setTimeout(() => setCopied(false), COPIED_MS)
  }
  return (
    <IconButton
      icon={isCopied ? <IconCheck /> : <IconCopy />}
      label={isCopied ? 'Copied' : label}
      onClick={onClick}
    />
  )
}
