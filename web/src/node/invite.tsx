import { type ReactNode, useState } from 'react'
import { type InviteReport, useInvite } from '../api/node.ts'
import { Button, Dialog, ErrorNotice, Field, IconCopy, Input, Select, TextArea, toast } from '../ui/index.ts'

const DAY_SECONDS = 86_400
const LIVES = [
  { value: String(DAY_SECONDS), label: 'a day' },
  { value: String(7 * DAY_SECONDS), label: 'a week' },
  { value: String(30 * DAY_SECONDS), label: 'a month' }
]
const MOST_USES = 10_000

/** Makes an invitation, and shows it once. */
export function Invite(): ReactNode {
  const [uses, setUses] = useState('1')
  const [seconds, setSeconds] = useState(String(7 * DAY_SECONDS))
  const [shown, setShown] = useState<InviteReport>()
  const invite = useInvite()
  const number = Number(uses)
  const isValid = Number.isInteger(number) && number >= 1 && number <= MOST_USES
  return (
    <section aria-label="Invite" className="flex flex-col gap-3">
      <h3 className="font-semibold">Invite to a private swarm</h3>
      <p className="text-sm text-soft">
        Friends, a family or a firm: only who has an invitation takes part. The first one makes the swarm.
      </p>
      <div className="grid grid-cols-2 gap-3">
        <Field label="Machines" error={isValid ? undefined : `From 1 to ${MOST_USES}.`}>
          {(control) => (
            <Input
              {...control}
              inputMode="numeric"
              value={uses}
              onChange={(event) => setUses(event.target.value)}
            />
          )}
        </Field>
        <Field label="Good for">
          {(control) => <Select {...control} value={seconds} onChange={setSeconds} options={LIVES} />}
        </Field>
      </div>
      <Button
        look="primary"
        className="self-start"
        busy={invite.isPending}
        disabled={!isValid}
        onClick={() =>
          invite.mutate({ uses: number, expiresSeconds: Number(seconds) }, { onSuccess: setShown })
        }
      >
        Make an invitation
      </Button>
      {invite.error !== null && (
        <ErrorNotice title="No invitation was made">{invite.error.message}</ErrorNotice>
      )}
      <Dialog title="Your invitation" isOpen={shown !== undefined} onClose={() => setShown(undefined)}>
        {shown !== undefined && <Token report={shown} />}
      </Dialog>
    </section>
  )
}

function Token({ report }: { readonly report: InviteReport }): ReactNode {
  const copy = async (): Promise<void> => {
    await navigator.clipboard.writeText(report.token)
    toast('Copied')
  }
  return (
    <>
      <p className="text-sm">
        To <strong>{report.swarm}</strong>, until {new Date(report.expires).toLocaleString()}. It is a secret,
        and it is not shown again: send it as you would a password.
      </p>
      <Field label="Invitation">
        {(control) => (
          <TextArea
            {...control}
            readOnly
            rows={5}
            className="font-mono text-xs"
            value={report.token}
            onFocus={(event) => event.target.select()}
          />
        )}
      </Field>
      {report.isLocal && (
        <p className="text-sm text-warn">
          Its addresses are this machine’s own: nobody else can reach them until the node listens on others.
        </p>
      )}
      {report.needsRestart && (
        <p className="text-sm text-warn">
          This node takes part from its next start on: stop Shoal and start it again.
        </p>
      )}
      <Button
        look="primary"
        icon={<IconCopy />}
        onClick={() =>
          void copy().catch(() => toast('The browser did not allow it: select and copy.', { isError: true }))
        }
      >
        Copy
      </Button>
    </>
  )
}
