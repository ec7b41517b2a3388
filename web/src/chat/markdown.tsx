/**
 * A model's text as Markdown. It is a stranger's: HTML in it is text, pictures are links, and links say where they lead.
 * Streamdown splits it into blocks and draws only the one anew that grows.
 */
import { type ComponentProps, memo, type ReactNode } from 'react'
import { type Components, type ExtraProps, Streamdown, useIsCodeFenceIncomplete } from 'streamdown'
import { CodeBlock } from './code-block.tsx'
import { Formula } from './formula.tsx'
import { placeOf, safeUrl, tellsItsPlace } from './links.ts'
import './markdown.css'
import { formulaOf, markFormulas } from './math-marks.ts'
import { partsOf } from './parts.ts'

/** What Markdown makes, and nothing else. */
const ELEMENTS =
  'a blockquote br code del em h1 h2 h3 h4 h5 h6 hr img input li ol p pre section strong sup table tbody td th thead tr ul'.split(
    ' '
  )

/** Half a formula is left to `markFormulas`. */
const REMEND = { katex: false, htmlTags: false }

function textOf(node: unknown): string {
  const { value, children = [] } = (node ?? {}) as { value?: string; children?: unknown[] }
  return value ?? children.map(textOf).join('')
}

function Anchor({ href, children, node }: ComponentProps<'a'> & ExtraProps): ReactNode {
  const url = safeUrl(href)
  if (url === undefined) return <span>{children}</span>
  return (
    <a href={url} target="_blank" rel="noopener noreferrer nofollow">
      <bdi>{children}</bdi>
      {!tellsItsPlace(textOf(node), url) && <span className="link-place"> ({placeOf(url)})</span>}
      <span className="sr-only"> (opens in a new tab)</span>
    </a>
  )
}

/** Asking for it would tell its host who reads this. */
function Picture({ src, alt }: ComponentProps<'img'> & ExtraProps): ReactNode {
  const url = safeUrl(typeof src === 'string' ? src : undefined)
  const name = `Picture: ${alt || 'without a description'}`
  return url === undefined ? <span>[{name}]</span> : <Anchor href={url}>{name}</Anchor>
}

function Code({ children }: ComponentProps<'code'> & ExtraProps): ReactNode {
  const text = String(children ?? '')
  const formula = formulaOf(text)
  return formula === undefined ? <code>{text}</code> : <Formula {...formula} />
}

function Pre({ node }: ExtraProps): ReactNode {
  const isIncomplete = useIsCodeFenceIncomplete()
  const [code] = ((node ?? {}) as { children?: { properties?: { className?: unknown } }[] }).children ?? []
  const language = /language-(\S+)/.exec(String(code?.properties?.className ?? ''))?.[1] ?? ''
  return <CodeBlock code={textOf(node).replace(/\n$/, '')} language={language} isIncomplete={isIncomplete} />
}

function Table({ children }: ComponentProps<'table'> & ExtraProps): ReactNode {
  return (
    // biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls has to be reached by keyboard
    <section tabIndex={0} aria-label="Table" className="my-3 overflow-x-auto">
      <table>{children}</table>
    </section>
  )
}

/** Below the message's own heading, and all of one level: models skip some, which readers can't follow. */
function Heading({ node, children }: ComponentProps<'h3'> & ExtraProps): ReactNode {
  return <h3 className={`heading-${node?.tagName.slice(1)}`}>{children}</h3>
}

const COMPONENTS: Components = {
  ...{ a: Anchor, img: Picture, code: Code, pre: Pre, table: Table },
  ...{ h1: Heading, h2: Heading, h3: Heading, h4: Heading, h5: Heading, h6: Heading },
  ...{ p: 'p', ul: 'ul', ol: 'ol', li: 'li', blockquote: 'blockquote', hr: 'hr', strong: 'strong' },
  ...{ thead: 'thead', tbody: 'tbody', tr: 'tr', th: 'th', td: 'td', sup: 'sup', section: 'section' }
}

interface MarkdownProps {
  readonly text: string
  readonly isGrowing: boolean
}

export default function Markdown({ text, isGrowing }: MarkdownProps): ReactNode {
  const parts = partsOf(text)
  const last = parts.length - 1
  // biome-ignore lint/suspicious/noArrayIndexKey: cuts stay where they are
  return parts.map((part, index) => <Part key={index} text={part} isGrowing={isGrowing && index === last} />)
}

const Part = memo(function Part({ text, isGrowing }: MarkdownProps): ReactNode {
  return (
    <Streamdown
      className="markdown"
      components={COMPONENTS}
      allowedElements={ELEMENTS}
      unwrapDisallowed
      urlTransform={safeUrl}
      rehypePlugins={NO_PLUGINS}
      remend={REMEND}
      parseIncompleteMarkdown={isGrowing}
      isAnimating={isGrowing}
    >
      {markFormulas(text)}
    </Streamdown>
  )
})

/** Without `rehype-raw`, HTML stays text. */
const NO_PLUGINS: [] = []
