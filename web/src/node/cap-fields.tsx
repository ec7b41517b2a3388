import type { ReactNode } from 'react'
import type { NodeReport } from '../api/node.ts'
import { Badge, Field, Input } from '../ui/index.ts'
import { bytes } from '../units.ts'
import { CAPS, type Draft, FIELDS, problemOf } from './settings.ts'

export interface CapFieldsProps {
  readonly draft: Draft
  readonly report: Pick<NodeReport, 'machine' | 'fixed' | 'needRestart'>
  readonly onChange: (draft: Draft) => void
}

function hintOf(field: keyof Draft, machine: NodeReport['machine']): string {
  if (field === 'memoryGigabytes')
    return `Of ${bytes(machine.memoryBytes)}; ${bytes(machine.memoryFreeBytes)} are free now.`
  if (field === 'threads') return `Of ${machine.cores} cores.`
  if (field !== 'diskGigabytes') return 'Of models’ pieces.'
  const free = machine.diskFreeBytes === undefined ? '' : `${bytes(machine.diskFreeBytes)} are free now. `
  return `${free}What was used longest ago makes room.`
}

/** What an empty field means. */
function placeholderOf(field: keyof Draft, machine: NodeReport['machine']): string {
  if (field === 'memoryGigabytes') return (machine.defaultMemoryBytes / CAPS[field].scale).toFixed(1)
  return field === 'threads' ? 'as many as it takes' : 'no limit'
}

/** How much of the machine others may have. */
export function CapFields({ draft, report, onChange }: CapFieldsProps): ReactNode {
  const { machine, fixed, needRestart } = report
  return (
    <div className="grid gap-4 sm:grid-cols-2 lg:grid-cols-3">
      {FIELDS.map((field) => {
        const { label, unit, setting } = CAPS[field]
        const isFixed = fixed.includes(setting)
        return (
          <Field
            key={field}
            label={
              <>
                {label} ({unit}){' '}
                {needRestart.includes(setting) && <Badge tone="warn">not yet in effect</Badge>}
              </>
            }
            hint={isFixed ? 'Given on the command line: it can’t be changed here.' : hintOf(field, machine)}
            error={problemOf(field, draft[field], machine)}
          >
            {(control) => (
              <Input
                {...control}
                inputMode="decimal"
                autoComplete="off"
                placeholder={placeholderOf(field, machine)}
                disabled={isFixed}
                value={draft[field]}
                onChange={(event) => onChange({ ...draft, [field]: event.target.value })}
              />
            )}
          </Field>
        )
      })}
    </div>
  )
}
