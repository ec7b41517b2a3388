import { useVirtualizer } from '@tanstack/react-virtual'
import { type ReactNode, useEffect, useLayoutEffect, useRef } from 'react'
import { Button, IconArrowDown } from '../ui/index.ts'
import { useThread } from './hooks.ts'
import { loadMarkdown, MessageView } from './message-view.tsx'
import type { Thread } from './thread.ts'

interface MessageListProps {
  readonly thread: Thread
  readonly onEdit: (id: string) => void
}

/** In pixels. Of a message that was never seen: a short one's. */
const ESTIMATE = 140
/** Whoever is this near to the end wants to stay there. */
const NEAR = 64
const EDGE = 16

/** Only those near to what is seen exist: ten thousand are as fast as ten. */
export function MessageList({ thread, onEdit }: MessageListProps): ReactNode {
  useThread(thread)
  const scroller = useRef<HTMLDivElement>(null)
  const { path } = thread
  const virtualizer = useVirtualizer({
    count: path.length,
    getScrollElement: () => scroller.current,
    estimateSize: () => ESTIMATE,
    getItemKey: (index) => path[index] ?? index,
    anchorTo: 'end',
    followOnAppend: true,
    scrollEndThreshold: NEAR,
    overscan: 4,
    paddingStart: EDGE,
    paddingEnd: EDGE
  })
  useLayoutEffect(() => virtualizer.scrollToEnd(), [virtualizer])
  useEffect(() => {
    void loadMarkdown() // while the prompt is read; nobody needs it before
  }, [])
  const answering = thread.answer?.id
  useEffect(() => {
    if (answering !== undefined) virtualizer.scrollToEnd()
  }, [virtualizer, answering])
  return (
    <div className="relative min-h-0 grow">
      <div
        ref={scroller}
        role="log"
        aria-live="off"
        aria-label="Messages"
        // biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls has to be reached by keyboard
        tabIndex={0}
        className="h-full overflow-y-auto overscroll-contain [overflow-anchor:none] focus-visible:-outline-offset-2"
      >
        <div className="relative mx-auto max-w-3xl" style={{ height: virtualizer.getTotalSize() }}>
          {virtualizer.getVirtualItems().map(({ key, index, start }) => (
            <div
              key={key}
              ref={virtualizer.measureElement}
              data-index={index}
              className="absolute inset-x-0 top-0 px-3 py-3 sm:px-5"
              style={{ transform: `translateY(${start}px)` }}
            >
              <MessageView
                thread={thread}
                id={String(key)}
                index={index}
                count={path.length}
                onEdit={onEdit}
              />
            </div>
          ))}
        </div>
      </div>
      {!virtualizer.isAtEnd(NEAR) && (
        <Button
          size="sm"
          icon={<IconArrowDown />}
          className="absolute bottom-3 left-1/2 -translate-x-1/2 rounded-full! shadow-md"
          onClick={() => virtualizer.scrollToEnd()}
        >
          Jump to latest
        </Button>
      )}
    </div>
  )
}
