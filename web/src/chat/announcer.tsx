import type { ReactNode } from 'react'
import { useEffect, useRef, useState } from 'react'
import { useMessage, useNow, useThread } from './hooks.ts'
import { phaseOf } from './progress-line.tsx'
import type { Thread } from './thread.ts'

/** In characters: whoever wants more goes to the answer itself. */
const MAX_READ = 600

/** For who can't see it: phases as they change and the answer when it is whole, not each token. */
export function Announcer({ thread }: { readonly thread: Thread }): ReactNode {
  useThread(thread)
  const { answer } = thread
  // An answer's phases change without the thread's telling.
  useNow(1_000, answer !== undefined)
  const last = useMessage(thread, thread.path.at(-1) ?? '')
  const [said, say] = useState('')
  const answered = useRef<string>(undefined)
  const phase = answer === undefined ? undefined : phaseOf(answer.progress)
  useEffect(() => {
    if (answer !== undefined) answered.current = answer.id
    if (phase !== undefined) say(phase)
  }, [answer, phase])
  const isDone = last !== undefined && last.state !== 'answering' && last.id === answered.current
  useEffect(() => {
    if (!isDone || last === undefined) return
    answered.current = undefined
    say(last.state === 'done' ? `Answer: ${last.text.slice(0, MAX_READ)}` : `The answer was ${last.state}.`)
  }, [isDone, last])
  return (
    <p role="status" className="sr-only">
      {said}
    </p>
  )
}
