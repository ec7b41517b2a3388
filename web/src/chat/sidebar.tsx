import { type ReactNode, useEffect, useRef, useState, useSyncExternalStore } from 'react'
import {
  Button,
  cx,
  Dialog,
  Field,
  IconButton,
  IconClose,
  IconDownload,
  IconEdit,
  IconMore,
  IconPlus,
  IconTrash,
  IconUpload,
  Input,
  Menu,
  toast
} from '../ui/index.ts'
import { plural } from '../units.ts'
import type { History } from './history.ts'
import type { Conversation } from './messages.ts'

interface SidebarProps {
  readonly history: History
  /** The id of the conversation that is shown; '': a new one. */
  readonly shown: string
  readonly onShow: (id: string) => void
  /** Over the conversation, where there is no room beside it. */
  readonly isModal: boolean
  readonly isOpen: boolean
  readonly onClose: () => void
}

export function Sidebar(props: SidebarProps): ReactNode {
  const { isModal, isOpen, onClose } = props
  const dialog = useRef<HTMLDialogElement>(null)
  useEffect(() => {
    if (!isModal) return
    if (isOpen) dialog.current?.showModal()
    else dialog.current?.close()
  }, [isModal, isOpen])
  if (!isModal) {
    if (!isOpen) return null
    return (
      <aside aria-label="Conversations" className="w-72 shrink-0 border-r border-line bg-surface">
        <List {...props} />
      </aside>
    )
  }
  return (
    // biome-ignore lint/a11y/useKeyWithClickEvents: Escape does what a click beside it does
    <dialog
      ref={dialog}
      aria-label="Conversations"
      onClose={onClose}
      onClick={(event) => event.target === event.currentTarget && event.currentTarget.close()}
      className="m-0 h-dvh max-h-none w-80 max-w-[85vw] border-r border-line bg-surface p-0 text-ink"
    >
      {isOpen && <List {...props} />}
    </dialog>
  )
}

function List({ history, shown, onShow, isModal, onClose }: SidebarProps): ReactNode {
  const list = useSyncExternalStore(history.subscribe, () => history.list)
  const [query, setQuery] = useState('')
  const [renaming, setRenaming] = useState<Conversation>()
  const [removing, setRemoving] = useState<Conversation | 'all'>()
  const words = query.toLowerCase().split(/\s+/)
  const found = list.filter(({ title }) => words.every((word) => title.toLowerCase().includes(word)))
  return (
    <div className="flex h-full flex-col gap-2 p-2">
      <div className="flex items-center gap-1">
        <Button look="primary" icon={<IconPlus />} className="grow" onClick={() => onShow('')}>
          New chat
        </Button>
        <MoreMenu history={history} onRemoveAll={() => setRemoving('all')} />
        {isModal && <IconButton size="md" icon={<IconClose />} label="Close" onClick={onClose} />}
      </div>
      <Input
        type="search"
        aria-label="Search conversations"
        placeholder="Search"
        value={query}
        onChange={(event) => setQuery(event.target.value)}
      />
      <nav aria-label="Conversations" className="min-h-0 grow overflow-y-auto">
        <ul>
          {found.map((conversation) => (
            <Row
              key={conversation.id}
              conversation={conversation}
              isShown={conversation.id === shown}
              onShow={() => onShow(conversation.id)}
              onRename={() => setRenaming(conversation)}
              onExport={() => void download(history, [conversation])}
              onRemove={() => setRemoving(conversation)}
            />
          ))}
        </ul>
        {found.length === 0 && (
          <p className="p-3 text-sm text-soft">
            {list.length === 0 ? 'What you ask is kept here, in this browser.' : 'None is called that.'}
          </p>
        )}
      </nav>
      <RenameDialog
        key={renaming?.id}
        history={history}
        conversation={renaming}
        onClose={() => setRenaming(undefined)}
      />
      <Dialog
        title={removing === 'all' ? 'Delete all conversations?' : 'Delete this conversation?'}
        isOpen={removing !== undefined}
        onClose={() => setRemoving(undefined)}
        actions={
          <>
            <Button onClick={() => setRemoving(undefined)}>Keep</Button>
            <Button
              look="danger"
              onClick={() => {
                if (removing === 'all') history.removeAll()
                else if (removing !== undefined) history.remove(removing.id)
                setRemoving(undefined)
              }}
            >
              Delete
            </Button>
          </>
        }
      >
        <p>
          {removing === 'all' ? plural(list.length, 'conversation') : `“${removing?.title}”`} will be gone
          from this browser. There is no copy elsewhere.
        </p>
      </Dialog>
    </div>
  )
}

interface RowProps {
  readonly conversation: Conversation
  readonly isShown: boolean
  readonly onShow: () => void
  readonly onRename: () => void
  readonly onExport: () => void
  readonly onRemove: () => void
}

function Row({ conversation, isShown, onShow, onRename, onExport, onRemove }: RowProps): ReactNode {
  const { title } = conversation
  return (
    <li className={cx('flex items-center rounded-lg', isShown ? 'bg-tint' : 'hover:bg-sunken')}>
      <button
        type="button"
        aria-current={isShown || undefined}
        onClick={onShow}
        className="min-h-10 min-w-0 grow truncate rounded-lg px-3 text-left text-sm"
      >
        {title}
      </button>
      <Menu
        label={`“${title}”`}
        align="end"
        button={(opener) => <IconButton {...opener} icon={<IconMore />} label={`More about “${title}”`} />}
        items={[
          { label: 'Rename', icon: <IconEdit />, onSelect: onRename },
          { label: 'Export', icon: <IconDownload />, onSelect: onExport },
          { label: 'Delete', icon: <IconTrash />, isDanger: true, onSelect: onRemove }
        ]}
      />
    </li>
  )
}

function MoreMenu({
  history,
  onRemoveAll
}: {
  readonly history: History
  readonly onRemoveAll: () => void
}): ReactNode {
  const input = useRef<HTMLInputElement>(null)
  const read = async (file: File | undefined): Promise<void> => {
    try {
      const count = file === undefined ? 0 : await history.import(await file.text())
      if (count > 0) toast(`${plural(count, 'conversation')} imported`)
    } catch (error) {
      toast((error as Error).message, { isError: true })
    }
  }
  return (
    <>
      <Menu
        label="All conversations"
        align="end"
        button={(opener) => (
          <IconButton {...opener} size="md" icon={<IconMore />} label="All conversations" />
        )}
        items={[
          { label: 'Export all', icon: <IconDownload />, onSelect: () => void download(history) },
          { label: 'Import', icon: <IconUpload />, onSelect: () => input.current?.click() },
          { label: 'Delete all', icon: <IconTrash />, isDanger: true, onSelect: onRemoveAll }
        ]}
      />
      <input
        ref={input}
        type="file"
        accept="application/json,.json"
        hidden
        aria-label="File with conversations"
        onChange={(event) => {
          void read(event.target.files?.[0])
          event.target.value = ''
        }}
      />
    </>
  )
}

async function download(history: History, conversations?: readonly Conversation[]): Promise<void> {
  const text = await history.export(conversations)
  const link = document.createElement('a')
  link.href = URL.createObjectURL(new Blob([text], { type: 'application/json' }))
  link.download = `shoal-conversations-${new Date().toISOString().slice(0, 10)}.json`
  link.click()
  URL.revokeObjectURL(link.href)
}

interface RenameDialogProps {
  readonly history: History
  readonly conversation: Conversation | undefined
  readonly onClose: () => void
}

function RenameDialog({ history, conversation, onClose }: RenameDialogProps): ReactNode {
  const [title, setTitle] = useState(conversation?.title ?? '')
  return (
    <Dialog title="Rename" isOpen={conversation !== undefined} onClose={onClose}>
      <form
        className="flex flex-col gap-4"
        onSubmit={(event) => {
          event.preventDefault()
          if (conversation !== undefined && title.trim() !== '') history.rename(conversation, title.trim())
          onClose()
        }}
      >
        <Field label="Title">
          {(control) => (
            <Input
              {...control}
              autoFocus
              maxLength={200}
              value={title}
              onChange={(event) => setTitle(event.target.value)}
            />
          )}
        </Field>
        <Button type="submit" look="primary" className="self-end">
          Save
        </Button>
      </form>
    </Dialog>
  )
}
