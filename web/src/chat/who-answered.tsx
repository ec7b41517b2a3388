/** The chain that answered, hop by hop, as its stages reported it, and what happened to it on the way. */
import { useQuery } from '@tanstack/react-query'
import type { ReactNode } from 'react'
import type { ChainChange, Hop } from '../api/completions.ts'
import { call } from '../api/http.ts'
import type { SwarmReport } from '../api/swarm.ts'
import { Badge, Button, cx, IconChevronRight, IconNode, Popover, type Tone } from '../ui/index.ts'
import { blocks, bytes, milliseconds, plural, sentence, shortPeer } from '../units.ts'
import type { Message, Report } from './messages.ts'
import { seconds } from './rate.ts'
import { tookOver } from './repairs.ts'

const CHANGES: Readonly<Record<ChainChange['change'], readonly [string, Tone]>> = {
  lost: ['Node lost', 'bad'],
  waiting: ['Waiting for a node', 'warn'],
  leaving: ['Node leaving', 'warn'],
  relayed: ['Relayed', 'warn'],
  repaired: ['Repaired', 'good']
}

/** While it answers all of it, afterwards whether it was repaired. */
export function ChainNews({
  report,
  isGrowing
}: {
  readonly report: Report | undefined
  readonly isGrowing: boolean
}): ReactNode {
  const changes = report?.changes ?? []
  if (changes.length === 0) return null
  const list = (
    <ul className="flex flex-col gap-1 text-sm text-soft">
      {changes.map(({ change, message }, index) => (
        // biome-ignore lint/suspicious/noArrayIndexKey: they only ever come at the end
        <li key={index} className="flex flex-wrap items-center gap-2">
          <Badge tone={CHANGES[change][1]}>{CHANGES[change][0]}</Badge>
          {sentence(message)}
        </li>
      ))}
    </ul>
  )
  if (isGrowing) return <div role="status">{list}</div>
  const repairs = changes.filter(({ change }) => change === 'repaired').length
  return (
    <details className="text-sm text-soft">
      <summary>
        {repairs > 0 ? `Repaired ${plural(repairs, 'time')} on the way` : 'Something happened on the way'}
      </summary>
      <div className="pt-1.5">{list}</div>
    </details>
  )
}

/** Figures, and behind them the chain. */
export function WhoAnswered({ message: { report } }: { readonly message: Message }): ReactNode {
  if (report === undefined) return null
  const { hops, usage, firstTokenMs, tokensPerSecond } = report
  const facts = [
    firstTokenMs !== undefined && `first token ${seconds(firstTokenMs)}`,
    tokensPerSecond !== undefined && `${tokensPerSecond.toFixed(tokensPerSecond < 10 ? 1 : 0)} tokens/s`,
    usage !== undefined && plural(usage.completion_tokens, 'token')
  ].filter((fact) => fact !== false)
  return (
    <span className="ml-1 flex flex-wrap items-center gap-x-2 text-xs text-soft tabular-nums">
      {facts.join(' · ')}
      {hops !== undefined && hops.length > 0 && (
        <Popover
          label="Who answered"
          className="p-4"
          button={(opener) => (
            <Button
              {...opener}
              size="sm"
              look="ghost"
              icon={<IconNode />}
              className="text-xs! text-accent-strong"
            >
              {plural(new Set(hops.map(({ peer }) => peer)).size, 'node')}
            </Button>
          )}
        >
          {() => <Chain hops={hops} changes={report.changes} />}
        </Popover>
      )}
    </span>
  )
}

interface ChainProps {
  readonly hops: readonly Hop[]
  readonly changes: readonly ChainChange[]
}

function Chain({ hops, changes }: ChainProps): ReactNode {
  const distances = useDistances()
  return (
    <div className="flex max-w-2xl flex-col gap-3">
      <p className="font-semibold">Who answered</p>
      <ol className="flex flex-wrap items-stretch gap-y-3">
        {hops.map((hop, index) => (
          <li key={hop.start} className="flex items-center">
            {index > 0 && <IconChevronRight className="mx-1 text-soft" />}
            <HopCard hop={hop} distanceMs={distances.get(hop.peer)} isNew={tookOver(hop, changes)} />
          </li>
        ))}
      </ol>
      <p className="text-xs text-soft">
        Each node computed the blocks named, then sent what came out to the next. Times are per token, in the
        median; nodes are named by the end of their id.
      </p>
    </div>
  )
}

interface HopCardProps {
  readonly hop: Hop
  /** There and back, from this gateway's node. */
  readonly distanceMs: number | undefined
  /** It took over from one that was lost. */
  readonly isNew: boolean
}

function HopCard({ hop, distanceMs, isNew }: HopCardProps): ReactNode {
  const { peer, start, end, computeMs, queueMs, bytesOut } = hop
  return (
    <div
      className={cx(
        'h-full rounded-xl border px-3 py-2 text-sm',
        isNew ? 'border-good bg-good-tint' : 'border-line bg-sunken'
      )}
    >
      <p className="flex items-center gap-1.5 font-medium">
        <IconNode /> <span className="font-mono">{shortPeer(peer)}</span>
      </p>
      <p>blocks {blocks(start, end)}</p>
      <dl className="mt-1 grid grid-cols-[auto_auto] gap-x-2 text-xs text-soft tabular-nums">
        <dt>computed</dt>
        <dd className="text-right">{milliseconds(computeMs)}</dd>
        <dt>waited</dt>
        <dd className="text-right">{milliseconds(queueMs)}</dd>
        <dt>sent</dt>
        <dd className="text-right">{bytes(bytesOut)}</dd>
        {distanceMs !== undefined && <dt>round trip</dt>}
        {distanceMs !== undefined && <dd className="text-right">{milliseconds(distanceMs)}</dd>}
      </dl>
      {isNew && <Badge tone="good">took over</Badge>}
    </div>
  )
}

function useDistances(): ReadonlyMap<string, number> {
  const { data } = useQuery({
    queryKey: ['chain-distances'],
    queryFn: ({ signal }) => call<SwarmReport>('/api/swarm', { signal })
  })
  return new Map(
    data?.nodes.flatMap(({ peer, rttMs }) => (rttMs === undefined ? [] : [[peer, rttMs] as const]))
  )
}
