import {
  type ClipboardEvent,
  type DragEvent,
  type KeyboardEvent,
  type MouseEvent,
  type ReactNode,
  useRef,
  useState
} from 'react'
import { Button, IconArrowUp, IconAttach, IconButton, IconClose, IconStop, toast } from '../ui/index.ts'
import { readAttachments } from './attachments.ts'
import type { Attachment } from './messages.ts'
import type { Thread } from './thread.ts'

/** What was typed and not sent, by conversation: looking at another one must not lose it. */
const drafts = new Map<string, string>()

/** The composer's textarea, for shortcuts. */
export const COMPOSER = 'composer'
const MAX_ROWS = 10

interface ComposerProps {
  readonly thread: Thread
  /** The person's message that is changed; undefined: a new one. */
  readonly editing: string | undefined
  readonly onEdited: () => void
}

export function Composer({ thread, editing, onEdited }: ComposerProps): ReactNode {
  const { id, model } = thread.conversation
  const edited = editing === undefined ? undefined : thread.message(editing)
  const [text, setText] = useState(() => edited?.text ?? drafts.get(id) ?? '')
  const [attachments, setAttachments] = useState<readonly Attachment[]>(edited?.attachments ?? [])
  const isAnswering = thread.answer !== undefined
  const isReady = !isAnswering && model !== undefined && (text.trim() !== '' || attachments.length > 0)
  const write = (next: string): void => {
    setText(next)
    if (editing === undefined) drafts.set(id, next)
  }
  const attach = async (files: readonly File[]): Promise<void> => {
    try {
      const read = await readAttachments(files, attachments.length)
      setAttachments((before) => [...before, ...read])
    } catch (error) {
      toast((error as Error).message, { isError: true })
    }
  }
  const send = (): void => {
    if (!isReady) return
    if (editing === undefined) thread.say({ text, attachments })
    else thread.edit(editing, { text, attachments })
    write('')
    setAttachments([])
    onEdited()
  }
  const stop = (event: MouseEvent): void => {
    // The second click of two was meant for the button that was here before.
    if (event.detail < 2) thread.stop()
  }
  const onKeyDown = (event: KeyboardEvent): void => {
    const isTouch = matchMedia('(pointer: coarse)').matches
    if (event.key !== 'Enter' || event.shiftKey || event.nativeEvent.isComposing || isTouch) return
    event.preventDefault()
    send()
  }
  const onPaste = (event: ClipboardEvent): void => {
    if (event.clipboardData.files.length === 0) return
    event.preventDefault()
    void attach([...event.clipboardData.files])
  }
  const onDrop = (event: DragEvent): void => {
    event.preventDefault()
    void attach([...event.dataTransfer.files])
  }
  return (
    <form
      className="mx-auto w-full max-w-3xl px-3 pb-3 sm:px-5"
      onDragOver={(event) => event.preventDefault()}
      onDrop={onDrop}
      onSubmit={(event) => {
        event.preventDefault()
        send()
      }}
    >
      <div className="rounded-2xl border border-edge bg-surface p-2 focus-within:border-accent focus-within:outline focus-within:outline-accent">
        {editing !== undefined && (
          <p className="flex items-center justify-between pl-2 text-sm text-soft">
            Changing what you asked: a new branch begins there
            <IconButton icon={<IconClose />} label="Don’t change it" onClick={onEdited} />
          </p>
        )}
        <Chips
          attachments={attachments}
          onRemove={(gone) => setAttachments(attachments.filter((each) => each !== gone))}
        />
        <textarea
          id={COMPOSER}
          aria-label="Message"
          placeholder={model === undefined ? 'Choose a model first' : 'Write a message'}
          // biome-ignore lint/a11y/noAutofocus: whoever edits has asked for it
          autoFocus={editing !== undefined}
          rows={Math.min(MAX_ROWS, text.split('\n').length)}
          value={text}
          onChange={(event) => write(event.target.value)}
          onKeyDown={onKeyDown}
          onPaste={onPaste}
          className="max-h-60 w-full resize-none bg-transparent px-2 py-1.5 outline-none [field-sizing:content] placeholder:text-soft"
        />
        <div className="flex items-center justify-between">
          <AttachButton onFiles={attach} />
          {isAnswering ? (
            <Button icon={<IconStop />} onClick={stop}>
              Stop
            </Button>
          ) : (
            <Button type="submit" look="primary" icon={<IconArrowUp />} aria-disabled={!isReady}>
              Send
            </Button>
          )}
        </div>
      </div>
    </form>
  )
}

interface ChipsProps {
  readonly attachments: readonly Attachment[]
  readonly onRemove: (attachment: Attachment) => void
}

function Chips({ attachments, onRemove }: ChipsProps): ReactNode {
  if (attachments.length === 0) return null
  return (
    <ul aria-label="Attached files" className="flex flex-wrap gap-1.5 p-1">
      {attachments.map((attachment) => (
        <li
          key={attachment.name}
          className="flex items-center gap-1 rounded-lg border border-line bg-sunken pl-2 text-sm"
        >
          <IconAttach /> {attachment.name}
          <IconButton
            icon={<IconClose />}
            label={`Remove ${attachment.name}`}
            onClick={() => onRemove(attachment)}
          />
        </li>
      ))}
    </ul>
  )
}

function AttachButton({ onFiles }: { readonly onFiles: (files: readonly File[]) => void }): ReactNode {
  const input = useRef<HTMLInputElement>(null)
  return (
    <>
      <IconButton
        size="md"
        icon={<IconAttach />}
        label="Attach text files"
        onClick={() => input.current?.click()}
      />
      <input
        ref={input}
        type="file"
        multiple
        hidden
        aria-label="Text files"
        onChange={(event) => {
          onFiles([...(event.target.files ?? [])])
          event.target.value = '' // the same file again is a change, too
        }}
      />
    </>
  )
}
