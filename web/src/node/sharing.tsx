import type { ReactNode } from 'react'
import { type NodeReport, useCommand, useShare } from '../api/node.ts'
import { Badge, Button, IconPause, IconPlay, IconStop, Link, Switch, type Tone } from '../ui/index.ts'
import { blocks, plural, sentence } from '../units.ts'

type State = NodeReport['sharing']['state']

const STATES: Readonly<Record<State, { readonly word: string; readonly tone: Tone; readonly hint: string }>> =
  {
    off: {
      word: 'Off',
      tone: 'plain',
      hint: 'This machine computes for nobody else. You can chat all the same.'
    },
    starting: {
      word: 'Starting',
      tone: 'accent',
      hint: 'Looking for blocks that the swarm needs, or loading them.'
    },
    on: { word: 'On', tone: 'good', hint: 'This machine computes parts of models for others.' },
    paused: { word: 'Paused', tone: 'warn', hint: 'No new sessions; those that run go on.' },
    finishing: {
      word: 'Finishing',
      tone: 'accent',
      hint: 'Sessions move to other nodes or end, two minutes at most.'
    }
  }

/** One switch, and what comes of it. */
export function Sharing({ report }: { readonly report: NodeReport }): ReactNode {
  const { sharing } = report
  const share = useShare()
  const isOn = share.isPending ? share.variables.on : sharing.state !== 'off'
  const { word, tone, hint } = STATES[sharing.state]
  return (
    <div className="flex flex-col gap-4">
      <Switch
        label="Share this machine"
        hint={hint}
        isOn={isOn}
        isBusy={share.isPending}
        onChange={(on) => share.mutate({ on })}
      />
      <p role="status" className="flex flex-wrap items-center gap-2 text-sm">
        <Badge tone={tone}>{word}</Badge>
        {sharing.sessions > 0 && <span>{plural(sharing.sessions, 'session')} of others now.</span>}
        {sharing.reason !== undefined && <span>{sentence(sharing.reason)}</span>}
      </p>
      {!sharing.hasSaidYes && sharing.state === 'off' && (
        <p className="text-sm">
          <Link to="/start" className="text-accent underline">
            What would be shared, and how much?
          </Link>
        </p>
      )}
      <Commands state={sharing.state} pausedBy={sharing.pausedBy} />
      {sharing.state !== 'off' && <Hosting sharing={sharing} />}
    </div>
  )
}

interface CommandsProps {
  readonly state: State
  readonly pausedBy: NodeReport['sharing']['pausedBy']
}

function Commands({ state, pausedBy }: CommandsProps): ReactNode {
  const command = useCommand()
  if (state === 'off' || state === 'finishing') return null
  const busy = (what: typeof command.variables): boolean => command.isPending && command.variables === what
  const canResume = state === 'paused' && pausedBy === 'person'
  return (
    <div className="flex flex-wrap gap-2">
      {canResume && (
        <Button
          icon={<IconPlay />}
          look="primary"
          busy={busy('resume')}
          onClick={() => command.mutate('resume')}
        >
          Resume
        </Button>
      )}
      {state !== 'paused' && (
        <Button icon={<IconPause />} busy={busy('pause')} onClick={() => command.mutate('pause')}>
          Pause
        </Button>
      )}
      <Button icon={<IconStop />} busy={busy('finish')} onClick={() => command.mutate('finish')}>
        Finish, then stop
      </Button>
    </div>
  )
}

function Hosting({ sharing }: { readonly sharing: NodeReport['sharing'] }): ReactNode {
  return (
    <div className="flex flex-col gap-2">
      <h3 className="font-semibold">What it hosts, and why</h3>
      <ul className="flex flex-col gap-2">
        {sharing.hosting.map(({ model, name, start, end, blockCount, state }) => (
          <li key={`${model} ${start}`} className="text-sm">
            <span className="flex flex-wrap items-center gap-2">
              <span className="font-medium">{name}</span>
              blocks {blocks(start, end)} of {blockCount}
              {state === 'loading' && <Badge tone="accent">loading</Badge>}
            </span>
            <svg
              aria-hidden="true"
              viewBox={`0 0 ${blockCount} 1`}
              preserveAspectRatio="none"
              className="mt-1 h-2 w-full rounded-full bg-sunken"
            >
              <rect x={start} width={end - start} height="1" fill="var(--accent)" />
            </svg>
          </li>
        ))}
      </ul>
      <p className="text-sm text-soft">{sentence(sharing.placement)}</p>
    </div>
  )
}
