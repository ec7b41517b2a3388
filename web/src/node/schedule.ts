/** When a node shares: seven days, Monday first, each with its hours. */

export type Schedule = readonly (readonly number[])[] | null

const HOURS = Array.from({ length: 24 }, (_, hour) => hour)
const DAYS = Array.from({ length: 7 }, (_, day) => day)
/** From ten in the evening to seven in the morning. */
const NIGHT = HOURS.filter((hour) => hour >= 22 || hour < 7)
const isWeekend = (day: number): boolean => day >= 5

/** What most people want; the rest is drawn hour by hour. */
export const PRESETS: readonly {
  readonly id: string
  readonly label: string
  readonly schedule: Schedule
}[] = [
  { id: 'always', label: 'Always', schedule: null },
  { id: 'nights', label: 'At night (22 to 7)', schedule: DAYS.map(() => NIGHT) },
  {
    id: 'off-work',
    label: 'Nights and weekends',
    schedule: DAYS.map((day) => (isWeekend(day) ? HOURS : NIGHT))
  }
]

const textOf = (schedule: Schedule): string =>
  JSON.stringify(schedule?.map((hours) => hours.toSorted((a, b) => a - b)) ?? null)

/** The preset that it is, or `own`. */
export function presetOf(schedule: Schedule): string {
  return PRESETS.find((preset) => textOf(preset.schedule) === textOf(schedule))?.id ?? 'own'
}

/** With an hour switched. */
export function toggled(schedule: Schedule, day: number, hour: number): number[][] {
  const all = schedule ?? DAYS.map(() => HOURS)
  return all.map((hours, at) => {
    if (at !== day) return [...hours]
    return hours.includes(hour)
      ? hours.filter((other) => other !== hour)
      : [...hours, hour].sort((a, b) => a - b)
  })
}
