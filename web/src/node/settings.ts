/** What a person types of limits, and what it means. */
import type { NodeReport, SharingSettings } from '../api/node.ts'

/** Of the fields of a form; empty: no bound, or as the node sees fit. */
export interface Draft {
  readonly memoryGigabytes: string
  readonly threads: string
  readonly diskGigabytes: string
  readonly uploadMegabytes: string
  readonly downloadMegabytes: string
}

type Field = keyof Draft
type Capped = 'memoryBytes' | 'threads' | 'diskBytes' | 'uploadBytesPerSecond' | 'downloadBytesPerSecond'

const GIGA = 1e9
const MEGA = 1e6

interface Cap {
  readonly setting: Capped
  readonly label: string
  readonly unit: string
  readonly scale: number
  /** In the unit. */
  readonly least: number
}

/** In the order of the form. Less than the least would be nothing: sharing is switched off instead. */
export const CAPS: Readonly<Record<Field, Cap>> = {
  memoryGigabytes: { setting: 'memoryBytes', label: 'Memory', unit: 'GB', scale: GIGA, least: 0.1 },
  threads: { setting: 'threads', label: 'Processor', unit: 'threads', scale: 1, least: 1 },
  diskGigabytes: { setting: 'diskBytes', label: 'Disk', unit: 'GB', scale: GIGA, least: 0.1 },
  uploadMegabytes: {
    setting: 'uploadBytesPerSecond',
    label: 'Upload',
    unit: 'MB/s',
    scale: MEGA,
    least: 0.001
  },
  downloadMegabytes: {
    setting: 'downloadBytesPerSecond',
    label: 'Download',
    unit: 'MB/s',
    scale: MEGA,
    least: 0.001
  }
}
export const FIELDS = Object.keys(CAPS) as readonly Field[]

export function draftOf(settings: SharingSettings): Draft {
  const text = (field: Field): string => {
    const { setting, scale } = CAPS[field]
    const value = settings[setting]
    return value === null ? '' : String(Number((value / scale).toPrecision(6)))
  }
  return Object.fromEntries(FIELDS.map((field) => [field, text(field)])) as unknown as Draft
}

/** What is wrong with a field; undefined: nothing. */
export function problemOf(field: Field, text: string, machine: NodeReport['machine']): string | undefined {
  if (text.trim() === '') return undefined
  const { unit, least, scale } = CAPS[field]
  const value = Number(text.replace(',', '.'))
  if (!Number.isFinite(value)) return `Give a number of ${unit}, or nothing.`
  if (value < least) return `Give ${least} ${unit} or more, or switch sharing off.`
  if (field === 'threads' && !Number.isInteger(value)) return 'Give a whole number.'
  if (field === 'threads' && value > machine.cores) return `This machine has ${machine.cores} cores.`
  if (field === 'memoryGigabytes' && value * scale > machine.memoryBytes) {
    return `This machine has ${Math.round(machine.memoryBytes / GIGA)} GB.`
  }
  return undefined
}

/** Those that differ from what is set. */
export function changesOf(draft: Draft, settings: SharingSettings): Partial<Pick<SharingSettings, Capped>> {
  const before = draftOf(settings)
  const changed = FIELDS.filter((field) => draft[field].trim() !== before[field])
  return Object.fromEntries(
    changed.map((field) => {
      const { setting, scale } = CAPS[field]
      const text = draft[field].trim().replace(',', '.')
      return [setting, text === '' ? null : Math.round(Number(text) * scale)]
    })
  )
}
