import type { ReactNode } from 'react'
import { type PullReport, useRemove } from '../api/node.ts'
import { Badge, IconButton, IconClose, ProgressBar, type Tone } from '../ui/index.ts'
import { bytes, bytesPerSecond, duration, plural } from '../units.ts'

const STATES: Readonly<Record<PullReport['state'], { readonly word: string; readonly tone: Tone }>> = {
  waiting: { word: 'Waits for others', tone: 'plain' },
  finding: { word: 'Looking for it', tone: 'accent' },
  fetching: { word: 'Coming', tone: 'accent' },
  done: { word: 'There', tone: 'good' },
  failed: { word: 'Failed', tone: 'bad' },
  cancelled: { word: 'Cancelled', tone: 'plain' }
}
const RUNNING: readonly PullReport['state'][] = ['waiting', 'finding', 'fetching']

function progressOf({
  bytes: there,
  totalBytes,
  bytesPerSecond: rate,
  secondsLeft,
  peers
}: PullReport): string {
  return [
    totalBytes > 0 && `${bytes(there)} of ${bytes(totalBytes)}`,
    rate !== undefined && bytesPerSecond(rate),
    secondsLeft !== undefined && `${duration(secondsLeft)} left`,
    peers !== undefined && `from ${plural(peers, 'peer')}`
  ]
    .filter(Boolean)
    .join(' · ')
}

/** A model that comes in, or came. */
export function Pull({ pull }: { readonly pull: PullReport }): ReactNode {
  const remove = useRemove()
  const { word, tone } = STATES[pull.state]
  const isRunning = RUNNING.includes(pull.state)
  const share = pull.totalBytes > 0 ? pull.bytes / pull.totalBytes : undefined
  return (
    <li className="flex flex-col gap-1.5 rounded-xl border border-line p-3">
      <div className="flex flex-wrap items-center gap-2">
        <span className="grow font-medium">{pull.name}</span>
        <Badge tone={tone}>{word}</Badge>
        <IconButton
          icon={<IconClose />}
          label={isRunning ? `Cancel ${pull.name}` : `Forget ${pull.name}`}
          busy={remove.isPending}
          onClick={() => remove.mutate(pull.id)}
        />
      </div>
      {isRunning && <ProgressBar label={`${pull.name} comes in`} value={share} />}
      {isRunning && <p className="text-sm text-soft tabular-nums">{progressOf(pull)}</p>}
      {pull.error !== undefined && <p className="text-sm text-bad">{pull.error}</p>}
    </li>
  )
}
