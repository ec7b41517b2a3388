import { lazy, memo, type ReactNode, Suspense, useDeferredValue } from 'react'
import {
  Badge,
  IconAttach,
  IconButton,
  IconChevronLeft,
  IconChevronRight,
  IconEdit,
  IconRefresh
} from '../ui/index.ts'
import { CopyButton } from './code-block.tsx'
import { Failure } from './failure.tsx'
import { useMessage, useThread } from './hooks.ts'
import type { Message } from './messages.ts'
import { ProgressLine } from './progress-line.tsx'
import { Reasoning } from './reasoning.tsx'
import type { Thread } from './thread.ts'
import { ChainNews, WhoAnswered } from './who-answered.tsx'

export const loadMarkdown = () => import('./markdown.tsx')
/** Text is there before Markdown is. */
const Markdown = lazy(loadMarkdown)

interface MessageViewProps {
  readonly thread: Thread
  readonly id: string
  readonly index: number
  readonly count: number
  readonly onEdit: (id: string) => void
}

export const MessageView = memo(function MessageView(props: MessageViewProps): ReactNode {
  const { thread, id, index, count, onEdit } = props
  const message = useMessage(thread, id)
  if (message === undefined) return null
  const isUser = message.role === 'user'
  return (
    <article
      aria-label={isUser ? 'You' : (message.model ?? 'Answer')}
      aria-posinset={index + 1}
      aria-setsize={count}
    >
      {isUser ? <Words message={message} /> : <AnswerBody thread={thread} message={message} />}
      {message.state !== 'answering' && (
        <footer
          className={isUser ? 'mt-1 flex items-center justify-end' : 'mt-1 flex flex-wrap items-center'}
        >
          <Branches thread={thread} id={id} />
          {message.text !== '' && <CopyButton text={message.text} label={isUser ? 'Copy' : 'Copy answer'} />}
          {isUser ? (
            <IconButton icon={<IconEdit />} label="Edit and ask again" onClick={() => onEdit(id)} />
          ) : (
            <IconButton icon={<IconRefresh />} label="Answer again" onClick={() => thread.answerAgain(id)} />
          )}
          {!isUser && <WhoAnswered message={message} />}
        </footer>
      )}
    </article>
  )
})

function Words({ message }: { readonly message: Message }): ReactNode {
  return (
    <div className="ml-auto w-fit max-w-[85%] rounded-2xl rounded-br-md bg-tint px-4 py-2.5">
      <h2 className="sr-only">You</h2>
      {message.attachments?.map(({ name, text }) => (
        <details key={name} className="mb-1.5 text-sm">
          <summary className="flex w-fit items-center gap-1.5 rounded-lg border border-edge px-2 py-1">
            <IconAttach /> {name}
          </summary>
          <pre className="max-h-60 overflow-auto p-2 font-mono text-xs whitespace-pre-wrap">{text}</pre>
        </details>
      ))}
      <p className="whitespace-pre-wrap">{message.text}</p>
    </div>
  )
}

interface AnswerBodyProps {
  readonly thread: Thread
  readonly message: Message
}

const ENDS: Partial<Record<Message['state'], string>> = {
  stopped: 'Stopped',
  cut: 'The page was closed in the middle'
}

function AnswerBody({ thread, message }: AnswerBodyProps): ReactNode {
  const { id, model, state, text, reasoning, failure, report } = message
  const answer = thread.answer?.id === id ? thread.answer : undefined
  const isGrowing = state === 'answering'
  const end = ENDS[state] ?? (report?.end === 'length' ? 'Cut off at the longest length allowed' : undefined)
  return (
    <div className="flex flex-col gap-2">
      <h2 className="text-sm font-semibold text-soft">{model}</h2>
      {reasoning !== undefined && <Reasoning message={message} />}
      {text !== '' && <Text text={text} isGrowing={isGrowing} />}
      <ChainNews report={report} isGrowing={isGrowing} />
      {answer !== undefined && <ProgressLine answer={answer} />}
      {failure !== undefined && <Failure thread={thread} id={id} failure={failure} />}
      {end !== undefined && (
        <span>
          <Badge>{end}</Badge>
        </span>
      )}
    </div>
  )
}

/** Markdown is drawn when there is time for it, so that keys and clicks come first. */
function Text({ text, isGrowing }: { readonly text: string; readonly isGrowing: boolean }): ReactNode {
  const shown = useDeferredValue(text)
  return (
    <Suspense fallback={<p className="whitespace-pre-wrap">{text}</p>}>
      <div className="flex flex-col gap-3">
        <Markdown text={shown} isGrowing={isGrowing} />
      </div>
    </Suspense>
  )
}

/** Which of several, and the way to the others. */
function Branches({ thread, id }: { readonly thread: Thread; readonly id: string }): ReactNode {
  useThread(thread) // a message is not told that an answer has ended
  const siblings = thread.siblings(id)
  if (siblings.length < 2) return null
  const at = siblings.indexOf(id)
  const step = (label: string, icon: ReactNode, to: string | undefined): ReactNode => (
    <IconButton
      icon={icon}
      label={label}
      aria-disabled={to === undefined || thread.answer !== undefined}
      onClick={() => to !== undefined && thread.show(to)}
    />
  )
  return (
    <span className="flex items-center text-sm text-soft">
      {step('Earlier version', <IconChevronLeft />, siblings[at - 1])}
      <span>
        <span className="sr-only">Version </span>
        {at + 1}/{siblings.length}
      </span>
      {step('Later version', <IconChevronRight />, siblings[at + 1])}
    </span>
  )
}
