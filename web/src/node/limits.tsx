import { type ReactNode, useState } from 'react'
import { type NodeReport, useSettings } from '../api/node.ts'
import { Badge, Button, Switch, toast } from '../ui/index.ts'
import { CapFields } from './cap-fields.tsx'
import { ScheduleField } from './schedule-field.tsx'
import { changesOf, draftOf, FIELDS, problemOf } from './settings.ts'

/** Caps and when: what a person decides of sharing. */
export function Limits({ report }: { readonly report: NodeReport }): ReactNode {
  const { settings, fixed, machine, needRestart } = report
  const change = useSettings()
  const [edited, setEdited] = useState<ReturnType<typeof draftOf>>()
  const draft = edited ?? draftOf(settings)
  const changes = changesOf(draft, settings)
  const isValid = FIELDS.every((field) => problemOf(field, draft[field], machine) === undefined)
  const save = (): void =>
    change.mutate(changes, {
      onSuccess: () => {
        setEdited(undefined)
        toast('Saved')
      }
    })
  const wanted = change.isPending ? { ...settings, ...change.variables } : settings
  return (
    <div className="flex flex-col gap-6">
      <form
        className="flex flex-col gap-4"
        onSubmit={(event) => {
          event.preventDefault()
          if (isValid) save()
        }}
      >
        <CapFields draft={draft} report={report} onChange={setEdited} />
        <div className="flex flex-wrap items-center gap-2">
          <Button
            type="submit"
            look="primary"
            busy={change.isPending}
            disabled={!isValid || Object.keys(changes).length === 0}
          >
            Save
          </Button>
          {edited !== undefined && <Button onClick={() => setEdited(undefined)}>Undo</Button>}
        </div>
      </form>
      {needRestart.length > 0 && (
        <p className="text-sm">
          <Badge tone="warn">Not yet in effect</Badge> What is marked so takes effect when sharing is switched
          off and on again.
        </p>
      )}
      <Switch
        label="Only while the machine is idle"
        hint={hintOfIdle(report)}
        isOn={wanted.idleOnly}
        isBusy={change.isPending}
        isDisabled={fixed.includes('idleOnly') || !machine.canTellIdle}
        onChange={(idleOnly) => change.mutate({ idleOnly })}
      />
      {machine.hasBattery && (
        <Switch
          label="Also on battery"
          hint={fixed.includes('onBattery') ? GIVEN : 'Else it pauses until the machine is plugged in.'}
          isOn={wanted.onBattery}
          isBusy={change.isPending}
          isDisabled={fixed.includes('onBattery')}
          onChange={(onBattery) => change.mutate({ onBattery })}
        />
      )}
      <ScheduleField
        schedule={wanted.schedule}
        isFixed={fixed.includes('schedule')}
        onChange={(schedule) => change.mutate({ schedule })}
      />
    </div>
  )
}

function hintOfIdle({ fixed, machine }: NodeReport): string {
  if (fixed.includes('idleOnly')) return GIVEN
  if (!machine.canTellIdle) return 'This system does not tell how busy it is.'
  return 'Pauses while other programs keep the processor busy.'
}

const GIVEN = 'Given on the command line: it can’t be changed here.'
