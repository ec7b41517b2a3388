import type { ReactNode } from 'react'
import { Button, ErrorNotice, IconRefresh } from '../ui/index.ts'
import { useNow } from './hooks.ts'
import { KeyForm } from './key-form.tsx'
import type { Message } from './messages.ts'
import type { Thread } from './thread.ts'

/** What it means and what to do, by the gateway's codes. */
const KNOWN: Readonly<Record<string, readonly [title: string, advice: string]>> = {
  model_not_covered: [
    'Nobody hosts some blocks of this model now',
    'Try again when a node with them has joined, or choose another model above.'
  ],
  model_not_found: ['Nobody knows this model', 'Choose another one above.'],
  overloaded: ['All chains are full', 'There may be room soon: try again.'],
  rate_limit_exceeded: [
    'That was too much at once',
    'This gateway limits what one person may ask: wait a little.'
  ],
  chain_lost: [
    'A node went away, and nobody took over',
    'What has come is kept. Try again: another chain may be there.'
  ],
  context_length_exceeded: [
    'This chat is longer than the model can read',
    'Start a new chat, attach less, or choose a model with a longer context.'
  ],
  invalid_api_key: ['This gateway asks for a key', 'Who runs it gives you one.'],
  connection_lost: ['No connection to Shoal', 'What has come is kept. Try again when it runs.'],
  timeout: ['It took too long', 'Try again, or ask for less.']
}

interface FailureProps {
  readonly thread: Thread
  readonly id: string
  readonly failure: NonNullable<Message['failure']>
}

export function Failure({ thread, id, failure }: FailureProps): ReactNode {
  const { code, message, retryAt = 0 } = failure
  const [title, advice] = KNOWN[code] ?? ['This did not work', 'Try again.']
  const now = useNow(1_000, retryAt > Date.now())
  const waits = Math.max(0, Math.ceil((retryAt - now) / 1_000))
  const retry = (): void => thread.answerAgain(id)
  return (
    <ErrorNotice title={title}>
      <p>{message}</p>
      <p className="mb-2">{advice}</p>
      {code === 'invalid_api_key' ? (
        <KeyForm onKey={retry} />
      ) : (
        <Button size="sm" icon={<IconRefresh />} aria-disabled={waits > 0} onClick={retry}>
          {waits > 0 ? `Try again in ${waits} s` : 'Try again'}
        </Button>
      )}
    </ErrorNotice>
  )
}
