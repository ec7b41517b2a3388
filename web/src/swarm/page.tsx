import type { ReactNode } from 'react'
import { type SwarmReport, useSwarm } from '../api/swarm.ts'
import { useParameter } from '../router.ts'
import { Freshness } from '../ui/freshness.tsx'
import { ErrorNotice, Field, Input, Select, Spinner } from '../ui/index.ts'
import { PageBody, Section } from '../ui/page.tsx'
import { plural, shortPeer } from '../units.ts'
import { topContributors } from './contributors.ts'
import { modelsFor, nodesFor } from './filter.ts'
import { Models } from './models.tsx'
import { Nodes } from './nodes.tsx'
import { Self } from './self.tsx'
import { Throughput } from './throughput.tsx'

const MOST_CONTRIBUTORS = 10

export function SwarmPage(): ReactNode {
  const live = useSwarm()
  const { data: report, error } = live
  return (
    <PageBody
      title="Swarm health"
      aside={
        <span className="flex items-center gap-4">
          <Freshness live={live} />
          <a href="/api/swarm" className="text-sm text-accent underline">
            JSON
          </a>
        </span>
      }
    >
      {report === undefined && error === undefined && (
        <Spinner label="Asking the swarm" className="text-soft" />
      )}
      {report === undefined && error !== undefined && (
        <ErrorNotice title="The swarm's state can't be shown">{error.message}</ErrorNotice>
      )}
      {report !== undefined && <Report report={report} />}
    </PageBody>
  )
}

function Report({ report }: { readonly report: SwarmReport }): ReactNode {
  const [wanted, setWanted] = useParameter('model')
  const [text, setText] = useParameter('node')
  const models = modelsFor(report.models, wanted)
  const names = new Map(report.models.map(({ id, name }) => [id, name]))
  const nameOf = (id: string): string => names.get(id) ?? shortPeer(id)
  const ids = wanted === '' ? undefined : new Set(models.map(({ id }) => id))
  const nodes = nodesFor(report.nodes, ids, text, nameOf)
  const options = report.models.map(({ id, name }) => ({ value: id, label: name }))
  return (
    <>
      <Section title="At a glance">
        <Self self={report.self} known={report.nodes.length} />
      </Section>
      <Section
        title="Models"
        aside={
          <Select
            aria-label="Show models"
            className="!w-auto max-w-full"
            value={models.length === 1 && wanted !== '' ? models[0]?.id : wanted}
            options={[
              { value: '', label: 'All models' },
              ...options,
              ...(wanted !== '' && models.length === 0 ? [{ value: wanted, label: wanted }] : [])
            ]}
            onChange={setWanted}
          />
        }
      >
        <Models models={models} />
      </Section>
      <Section title="What this gateway answers">
        <Throughput now={report.gateway} />
      </Section>
      <Section title="Top contributors">
        <Contributors nodes={nodes} />
      </Section>
      <Section title={`Nodes (${nodes.length.toLocaleString('en')})`}>
        <div className="max-w-sm">
          <Field label="Find a node">
            {(control) => (
              <Input
                {...control}
                type="search"
                placeholder="peer id or model"
                value={text}
                onChange={(event) => setText(event.target.value)}
              />
            )}
          </Field>
        </div>
        {nodes.length === 0 ? (
          <p className="text-soft">No node that is known here fits.</p>
        ) : (
          <Nodes nodes={nodes} self={report.self.peer} nameOf={nameOf} />
        )}
      </Section>
    </>
  )
}

function Contributors({ nodes }: { readonly nodes: SwarmReport['nodes'] }): ReactNode {
  const top = topContributors(nodes, MOST_CONTRIBUTORS)
  const most = top[0]?.blocks ?? 1
  if (top.length === 0) return <p className="text-soft">Nobody hosts anything yet.</p>
  return (
    <ol className="grid gap-x-8 gap-y-2 md:grid-cols-2">
      {top.map(({ peer, blocks }) => (
        <li key={peer} className="grid grid-cols-[8rem_minmax(0,1fr)_5rem] items-center gap-3 text-sm">
          <span className="font-mono" title={peer}>
            {shortPeer(peer)}
          </span>
          <span aria-hidden="true" className="h-2 rounded-full bg-sunken">
            <span
              className="block h-2 rounded-full bg-accent"
              style={{ width: `${(100 * blocks) / most}%` }}
            />
          </span>
          <span className="text-right tabular-nums">{plural(blocks, 'block')}</span>
        </li>
      ))}
    </ol>
  )
}
