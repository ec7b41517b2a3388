import { type ReactNode, useEffect, useState } from 'react'
import { type NodeReport, useNode, useShare } from '../api/node.ts'
import { navigate } from '../router.ts'
import { Button, ErrorNotice, IconChat, IconSwarm, Spinner } from '../ui/index.ts'
import { PageBody, Section } from '../ui/page.tsx'
import { bytes } from '../units.ts'
import { setAsked } from './asked.ts'
import { CapFields } from './cap-fields.tsx'
import { NotYours } from './not-yours.tsx'
import { changesOf, draftOf, FIELDS, problemOf } from './settings.ts'

/** The first run: what sharing means, how much, and yes or no. */
export function StartPage(): ReactNode {
  const { data: report, error } = useNode()
  useEffect(setAsked, [])
  return (
    <PageBody title="Welcome to Shoal">
      <p className="max-w-2xl text-lg text-soft">
        Many people’s machines run open language models together. You can use them right away. If you like,
        yours can help; nothing is shared until you say so here.
      </p>
      {report !== undefined && <Choice report={report} />}
      {report === undefined && error === undefined && (
        <Spinner label="Asking the node" className="text-soft" />
      )}
      {report === undefined && error?.status === 404 && <NotYours />}
      {report === undefined && error !== undefined && error.status !== 404 && (
        <ErrorNotice title="The node does not answer">{error.message}</ErrorNotice>
      )}
    </PageBody>
  )
}

function Choice({ report }: { readonly report: NodeReport }): ReactNode {
  const { machine, settings } = report
  const share = useShare()
  const [draft, setDraft] = useState(() => withDefaults(report))
  const isValid = FIELDS.every((field) => problemOf(field, draft[field], machine) === undefined)
  const isOn = report.sharing.state !== 'off'
  const go = (): void =>
    share.mutate({ on: true, ...changesOf(draft, settings) }, { onSuccess: () => navigate('/node') })
  return (
    <>
      <div className="grid gap-4 md:grid-cols-2">
        <Section title="What would be shared">
          <ul className="flex list-disc flex-col gap-1 pl-5">
            <li>Memory and processor time, to compute a few blocks of a model for others.</li>
            <li>Upload, for hidden states and for pieces of models.</li>
            <li>Disk, for those pieces.</li>
          </ul>
        </Section>
        <Section title="What is not">
          <ul className="flex list-disc flex-col gap-1 pl-5">
            <li>Your files, and your conversations: they are kept in this browser.</li>
            <li>Your battery, unless you allow it.</li>
            <li>Anything at all once the switch under “My node” is off.</li>
          </ul>
        </Section>
      </div>
      <p className="max-w-2xl text-sm text-soft">
        Whether you share or not: those who compute a model’s blocks for a chat can work out what is said in
        it. Tell no secrets where strangers host the model.
      </p>
      <form
        onSubmit={(event) => {
          event.preventDefault()
          if (isValid) go()
        }}
        className="flex flex-col gap-5"
      >
        <Section title="How much">
          <CapFields draft={draft} report={report} onChange={setDraft} />
          <p className="text-sm text-soft">
            This machine has {machine.cores} cores and {bytes(machine.memoryBytes)} of memory. All of it can
            be changed later under “My node”.
          </p>
        </Section>
        <div className="grid gap-3 sm:grid-cols-2">
          <Button
            type="submit"
            look="primary"
            icon={<IconSwarm />}
            busy={share.isPending}
            disabled={!isValid}
            className="min-h-14"
          >
            {isOn ? 'Keep sharing so' : 'Share with the swarm'}
          </Button>
          <Button look="primary" icon={<IconChat />} className="min-h-14" onClick={() => navigate('/')}>
            Just chat
          </Button>
        </div>
      </form>
    </>
  )
}

/** As it is set; where nothing is, a tenth of the disk that is free, so that it never fills. */
function withDefaults({ settings, machine, fixed }: NodeReport): ReturnType<typeof draftOf> {
  const draft = draftOf(settings)
  const { diskFreeBytes } = machine
  if (draft.diskGigabytes !== '' || diskFreeBytes === undefined || fixed.includes('diskBytes')) return draft
  return { ...draft, diskGigabytes: String(Math.max(Math.round(diskFreeBytes / 1e10), 1)) }
}
