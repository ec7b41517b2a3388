import type { ReactNode } from 'react'
import { cx, Field, Select } from '../ui/index.ts'
import { PRESETS, presetOf, type Schedule, toggled } from './schedule.ts'

export interface ScheduleFieldProps {
  readonly schedule: Schedule
  readonly isFixed: boolean
  readonly onChange: (schedule: number[][] | null) => void
}

const DAYS = ['Mon', 'Tue', 'Wed', 'Thu', 'Fri', 'Sat', 'Sun']
const HOURS = Array.from({ length: 24 }, (_, hour) => hour)

/** A preset, or hour by hour. */
export function ScheduleField({ schedule, isFixed, onChange }: ScheduleFieldProps): ReactNode {
  const preset = presetOf(schedule)
  const options = PRESETS.map(({ id, label }) => ({ value: id, label }))
  const choose = (id: string): void => {
    const chosen = PRESETS.find((one) => one.id === id)
    if (chosen !== undefined) onChange(chosen.schedule?.map((hours) => [...hours]) ?? null)
  }
  return (
    <div className="flex flex-col gap-3">
      <div className="max-w-sm">
        <Field label="When" hint="By this machine’s clock.">
          {(control) => (
            <Select
              {...control}
              value={preset}
              disabled={isFixed}
              options={preset === 'own' ? [...options, { value: 'own', label: 'Own hours' }] : options}
              onChange={choose}
            />
          )}
        </Field>
      </div>
      <details>
        <summary className="w-fit text-sm text-soft hover:text-ink">Hour by hour</summary>
        <div className="flex flex-col gap-3 pt-2">
          {DAYS.map((name, day) => (
            <fieldset
              key={name}
              disabled={isFixed}
              className="grid grid-cols-[3rem_minmax(0,1fr)] items-center"
            >
              <legend className="sr-only">{name}</legend>
              <span aria-hidden="true" className="text-sm">
                {name}
              </span>
              <div className="grid grid-cols-8 gap-1 lg:grid-cols-24">
                {HOURS.map((hour) => {
                  const isOn = schedule === null || schedule[day]?.includes(hour) === true
                  return (
                    <button
                      key={hour}
                      type="button"
                      aria-pressed={isOn}
                      aria-label={`${name} ${hour}:00`}
                      onClick={() => onChange(toggled(schedule, day, hour))}
                      className={cx(
                        'min-h-8 rounded border text-xs tabular-nums disabled:opacity-55',
                        isOn
                          ? 'border-accent bg-accent text-on-accent'
                          : 'border-edge text-soft hover:bg-sunken'
                      )}
                    >
                      {hour}
                    </button>
                  )
                })}
              </div>
            </fieldset>
          ))}
        </div>
      </details>
    </div>
  )
}
