import type { ReactNode } from 'react'
import { type NodeReport, useNode } from '../api/node.ts'
import { useParameter } from '../router.ts'
import { Freshness } from '../ui/freshness.tsx'
import { ErrorNotice, Spinner, Tabs } from '../ui/index.ts'
import { PageBody, Section } from '../ui/page.tsx'
import { duration } from '../units.ts'
import { Contributed } from './contribution.tsx'
import { Limits } from './limits.tsx'
import { Logs } from './logs.tsx'
import { Models } from './models.tsx'
import { NotYours } from './not-yours.tsx'
import { Sharing } from './sharing.tsx'
import { SwarmMembership } from './swarm.tsx'

export function NodePage(): ReactNode {
  const live = useNode()
  const { data: report, error } = live
  const isElsewhere = error?.status === 404 && report === undefined
  return (
    <PageBody title="My node" aside={!isElsewhere && <Freshness live={live} />}>
      {report === undefined && error === undefined && (
        <Spinner label="Asking the node" className="text-soft" />
      )}
      {isElsewhere && <NotYours />}
      {report === undefined && error !== undefined && !isElsewhere && (
        <ErrorNotice title="The node does not answer">{error.message}</ErrorNotice>
      )}
      {report !== undefined && <Report report={report} />}
    </PageBody>
  )
}

function Report({ report }: { readonly report: NodeReport }): ReactNode {
  const [tab, setTab] = useParameter('tab')
  const tabs = [
    { id: '', label: 'Sharing', content: () => <Overview report={report} /> },
    {
      id: 'limits',
      label: 'Limits',
      content: () => (
        <Section title="Limits">
          <Limits report={report} />
        </Section>
      )
    },
    {
      id: 'models',
      label: 'Models',
      content: () => (
        <Section title="Models">
          <Models report={report} />
        </Section>
      )
    },
    {
      id: 'swarm',
      label: 'Swarm',
      content: () => (
        <Section title="Swarm">
          <SwarmMembership report={report} />
        </Section>
      )
    },
    {
      id: 'logs',
      label: 'Log',
      content: () => (
        <Section title="Log">
          <Logs />
        </Section>
      )
    }
  ]
  return <Tabs label="My node" tabs={tabs} chosen={tab} onChange={setTab} />
}

function Overview({ report }: { readonly report: NodeReport }): ReactNode {
  const { versions, peer, dataFolder, since } = report
  return (
    <div className="flex flex-col gap-5">
      <Section title="Sharing">
        <Sharing report={report} />
      </Section>
      <Section title="Contribution">
        <Contributed contribution={report.contribution} />
      </Section>
      <Section title="This node">
        <dl className="grid gap-x-4 gap-y-1 text-sm sm:grid-cols-[8rem_minmax(0,1fr)]">
          <dt className="text-soft">Peer id</dt>
          <dd className="font-mono">{peer}</dd>
          <dt className="text-soft">Version</dt>
          <dd>
            Shoal {versions.shoal}, Node {versions.node}, {versions.platform}
          </dd>
          {since !== undefined && <dt className="text-soft">Running for</dt>}
          {since !== undefined && <dd>{duration((Date.now() - Date.parse(since)) / 1_000)}</dd>}
          <dt className="text-soft">Its folder</dt>
          <dd className="font-mono">{dataFolder}</dd>
        </dl>
      </Section>
    </div>
  )
}
