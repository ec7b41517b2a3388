import type { ReactNode } from 'react'
import { type NodeReport, useLeave } from '../api/node.ts'
import { Badge, Button, ErrorNotice, type Tone } from '../ui/index.ts'
import { sentence } from '../units.ts'
import { Invite } from './invite.tsx'
import { Join } from './join.tsx'

type Swarm = NodeReport['swarm']

export function nameOf({ kind, name }: Pick<Swarm, 'kind' | 'name'>): string {
  if (kind === 'local') return 'this network only'
  if (kind === 'public') return 'the public swarm'
  return name ?? 'a private swarm'
}

/** Whom this node is with: invite, join, leave. */
export function SwarmMembership({ report }: { readonly report: NodeReport }): ReactNode {
  const { swarm } = report
  const leave = useLeave()
  const taken = swarm.next ?? swarm
  return (
    <div className="flex flex-col gap-5">
      <p>
        This node takes part in <strong>{nameOf(swarm)}</strong>
        {swarm.isFounder && ', which was made here'}.
      </p>
      {swarm.next !== undefined && (
        <p role="status">
          <Badge tone="warn">After the next start</Badge> {nameOf(swarm.next)}. Stop Shoal and start it again.
        </p>
      )}
      <div className="grid gap-6 md:grid-cols-2">
        <Invite />
        <Join />
      </div>
      {taken.kind !== 'local' && (
        <div className="flex flex-wrap items-center gap-3">
          <Button look="danger" busy={leave.isPending} onClick={() => leave.mutate()}>
            Leave {nameOf(taken)}
          </Button>
          {leave.isSuccess && <span role="status">Left: it holds from the next start on.</span>}
        </div>
      )}
      {leave.error !== null && <ErrorNotice title="It could not be left">{leave.error.message}</ErrorNotice>}
      <Network network={report.network} />
    </div>
  )
}

const STEPS: Readonly<Record<NodeReport['network']['steps'][number]['state'], Tone>> = {
  off: 'plain',
  waiting: 'accent',
  done: 'good',
  failed: 'bad'
}
const REACH: Readonly<
  Record<NodeReport['network']['reachability'], { readonly word: string; readonly tone: Tone }>
> = {
  reachable: { word: 'Others reach it', tone: 'good' },
  relayed: { word: 'Reached through others', tone: 'warn' },
  blocked: { word: 'Nobody reaches it', tone: 'bad' },
  local: { word: 'This machine only', tone: 'plain' }
}

function Network({ network }: { readonly network: NodeReport['network'] }): ReactNode {
  const { word, tone } = REACH[network.reachability]
  return (
    <section aria-label="Network" className="flex flex-col gap-2">
      <h3 className="font-semibold">How it finds others</h3>
      <p className="text-sm">
        <Badge tone={tone}>{word}</Badge> {sentence(network.why)} {sentence(network.advice ?? '')}
      </p>
      <ul className="flex flex-col gap-1 text-sm">
        {network.steps.map(({ name, state, detail, advice }) => (
          <li key={name}>
            <Badge tone={STEPS[state]}>{state}</Badge> <span className="font-medium">{name}</span>: {detail}
            {advice !== undefined && <span className="text-soft"> {advice}</span>}
          </li>
        ))}
      </ul>
      <details className="text-sm">
        <summary className="w-fit text-soft hover:text-ink">Its addresses</summary>
        <ul className="pt-1 font-mono text-xs">
          {network.addresses.map((address) => (
            <li key={address}>{address}</li>
          ))}
        </ul>
      </details>
    </section>
  )
}
