import { type ReactNode, use, useCallback, useEffect, useState, useSyncExternalStore } from 'react'
import { navigate, useParameter } from '../router.ts'
import { IconButton, IconInfo, IconMenu, IconPlus, IconSettings, Spinner, toast } from '../ui/index.ts'
import { Announcer } from './announcer.tsx'
import { Composer } from './composer.tsx'
import { type History, openHistory } from './history.ts'
import { useMedia, useThread } from './hooks.ts'
import { MessageList } from './message-list.tsx'
import { ModelPicker } from './model-picker.tsx'
import { SettingsDialog } from './settings-dialog.tsx'
import { ShortcutsDialog, useShortcuts } from './shortcuts.tsx'
import { Sidebar } from './sidebar.tsx'
import type { Thread } from './thread.ts'
import { Welcome } from './welcome.tsx'

/** One for the app's life: an answer goes on while a person looks at other pages. */
let opened: Promise<History> | undefined
function theHistory(): Promise<History> {
  opened ??= openHistory((message) => toast(message, { isError: true }))
  return opened
}

/** From here on there is room for the list of conversations beside them, as Tailwind's `lg`. */
const WIDE = '(min-width: 64rem)'
const HIDDEN = 'shoal.chat.list-hidden'

const show = (id: string): void => navigate(id === '' ? '/' : `/?c=${id}`)

export function ChatPage(): ReactNode {
  const history = use(theHistory())
  const [id] = useParameter('c')
  const thread = useOpenThread(history, id)
  const isWide = useMedia(WIDE)
  const [isListed, setListed] = useState(() => localStorage.getItem(HIDDEN) === null)
  const [isDrawn, setDrawn] = useState(false)
  const toggleList = (): void => {
    if (!isWide) {
      setDrawn(!isDrawn)
      return
    }
    if (isListed) localStorage.setItem(HIDDEN, '1')
    else localStorage.removeItem(HIDDEN)
    setListed(!isListed)
  }
  return (
    <div className="flex h-full">
      <h1 className="sr-only">Chat</h1>
      <Sidebar
        history={history}
        shown={id}
        onShow={(next) => {
          setDrawn(false)
          show(next)
        }}
        isModal={!isWide}
        isOpen={isWide ? isListed : isDrawn}
        onClose={() => setDrawn(false)}
      />
      {thread === undefined ? (
        <Spinner label="Loading" className="p-6 text-soft" />
      ) : (
        <Conversation key={thread.conversation.id} thread={thread} toggleList={toggleList} />
      )}
    </div>
  )
}

/** The conversation with this id, a new one for ''. Undefined: it is being read. */
function useOpenThread(history: History, id: string): Thread | undefined {
  const [thread, setThread] = useState<Thread>()
  const isThere = useSyncExternalStore(history.subscribe, () => id === '' || history.has(id))
  useEffect(() => {
    if (id === '') {
      setThread(history.fresh())
      return
    }
    if (!isThere) {
      navigate('/', { replace: true })
      return
    }
    let isWanted = true
    void history.open(id).then((found) => {
      if (isWanted) setThread(found)
    })
    return () => {
      isWanted = false
    }
  }, [history, id, isThere])
  return thread
}

interface ConversationProps {
  readonly thread: Thread
  readonly toggleList: () => void
}

function Conversation({ thread, toggleList }: ConversationProps): ReactNode {
  useThread(thread)
  const [editing, setEditing] = useState<string>()
  const [dialog, setDialog] = useState<'settings' | 'shortcuts'>()
  const closeDialog = useCallback(() => setDialog(undefined), [])
  const startNew = useCallback(() => show(''), [])
  useShortcuts({ thread, startNew, toggleList, help: () => setDialog('shortcuts') })
  const { conversation, path } = thread
  const isEmpty = path.length === 0
  useEffect(() => {
    if (!isEmpty) navigate(`/?c=${conversation.id}`, { replace: true })
  }, [isEmpty, conversation.id])
  return (
    <section aria-label={conversation.title || 'New chat'} className="flex min-w-0 grow flex-col">
      <header className="flex items-center gap-1 border-b border-line px-2 py-1.5 sm:px-3">
        <IconButton size="md" icon={<IconMenu />} label="Conversations" onClick={toggleList} />
        <ModelPicker name={conversation.model} onPick={(model) => thread.change({ model })} />
        <span className="grow" />
        <IconButton
          size="md"
          icon={<IconSettings />}
          label="Settings of this chat"
          onClick={() => setDialog('settings')}
        />
        <IconButton
          size="md"
          className="max-sm:hidden"
          icon={<IconInfo />}
          label="Keyboard shortcuts"
          onClick={() => setDialog('shortcuts')}
        />
        <IconButton size="md" icon={<IconPlus />} label="New chat" onClick={startNew} />
      </header>
      {isEmpty ? <Welcome /> : <MessageList thread={thread} onEdit={setEditing} />}
      <Composer
        key={editing ?? ''}
        thread={thread}
        editing={editing}
        onEdited={() => setEditing(undefined)}
      />
      <Announcer thread={thread} />
      <SettingsDialog thread={thread} isOpen={dialog === 'settings'} onClose={closeDialog} />
      <ShortcutsDialog isOpen={dialog === 'shortcuts'} onClose={closeDialog} />
    </section>
  )
}
