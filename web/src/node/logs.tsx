import { type ReactNode, useLayoutEffect, useRef, useState } from 'react'
import { type LogReport, useLogs } from '../api/node.ts'
import { Button, cx, ErrorNotice, Field, IconCopy, Input, Select, Spinner, toast } from '../ui/index.ts'

type Line = LogReport['lines'][number]

const LINES = 500
const LEVELS: readonly string[] = ['debug', 'info', 'warn', 'error'] satisfies Line['level'][]
/** Whoever has scrolled up by more reads, and is left alone. */
const AT_END_PIXELS = 40

const COLOURS: Readonly<Record<Line['level'], string>> = {
  debug: 'text-soft',
  info: '',
  warn: 'text-warn',
  error: 'text-bad'
}

/** Those of a level and above that have the text. */
export function linesFor(lines: readonly Line[], least: string, text: string): readonly Line[] {
  const from = LEVELS.indexOf(least)
  const part = text.trim().toLowerCase()
  return lines.filter(
    ({ level, message }) => LEVELS.indexOf(level) >= from && message.toLowerCase().includes(part)
  )
}

const asText = ({ time, level, message }: Line): string => `${time} ${level} ${message}`

/** The last lines, followed. */
export function Logs(): ReactNode {
  const [least, setLeast] = useState<string>('info')
  const [text, setText] = useState('')
  const { data, error } = useLogs(LINES)
  const lines = linesFor(data?.lines ?? [], least, text)
  const copy = async (): Promise<void> => {
    await navigator.clipboard.writeText(lines.map(asText).join('\n'))
    toast('Copied. Read it before you send it to anybody: it names your peers.')
  }
  return (
    <div className="flex flex-col gap-3">
      <div className="flex flex-wrap items-end gap-3">
        <div className="min-w-40 grow md:max-w-xs">
          <Field label="Find">
            {(control) => (
              <Input
                {...control}
                type="search"
                value={text}
                onChange={(event) => setText(event.target.value)}
              />
            )}
          </Field>
        </div>
        <Field label="Level">
          {(control) => (
            <Select
              {...control}
              value={least}
              onChange={setLeast}
              options={LEVELS.map((level) => ({ value: level, label: `${level} and above` }))}
            />
          )}
        </Field>
        <Button
          icon={<IconCopy />}
          disabled={lines.length === 0}
          onClick={() =>
            void copy().catch(() => toast('The browser did not allow copying.', { isError: true }))
          }
        >
          Copy
        </Button>
      </div>
      {data === undefined && error === null && <Spinner label="Reading" className="text-soft" />}
      {error !== null && <ErrorNotice title="The log can’t be read">{error.message}</ErrorNotice>}
      {data !== undefined && <Tail lines={lines} />}
    </div>
  )
}

function Tail({ lines }: { readonly lines: readonly Line[] }): ReactNode {
  const box = useRef<HTMLDivElement>(null)
  const isAtEnd = useRef(true)
  // biome-ignore lint/correctness/useExhaustiveDependencies: new lines are what moves the end
  useLayoutEffect(() => {
    if (isAtEnd.current && box.current !== null) box.current.scrollTop = box.current.scrollHeight
  }, [lines])
  return (
    <section
      ref={box}
      // biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls has to be reached by keyboard
      tabIndex={0}
      aria-label="Lines"
      onScroll={({ currentTarget: at }) => {
        isAtEnd.current = at.scrollHeight - at.scrollTop - at.clientHeight < AT_END_PIXELS
      }}
      className="h-96 overflow-auto rounded-xl border border-line bg-sunken p-3 font-mono text-xs"
    >
      {lines.length === 0 && <p className="text-soft">No such lines.</p>}
      {lines.map((line, at) => (
        // biome-ignore lint/suspicious/noArrayIndexKey: lines have nothing of their own to be known by
        <p key={`${line.time} ${at}`} className={cx('whitespace-pre-wrap', COLOURS[line.level])}>
          <time dateTime={line.time}>{new Date(line.time).toLocaleTimeString()}</time> {line.level.padEnd(5)}{' '}
          {line.message}
        </p>
      ))}
    </section>
  )
}
