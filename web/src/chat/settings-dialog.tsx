import type { ReactNode } from 'react'
import type { Effort, Sampling } from '../api/completions.ts'
import { Button, Dialog, Field, Input, Select, TextArea } from '../ui/index.ts'
import { useThread } from './hooks.ts'
import type { Thread } from './thread.ts'

interface NumberSetting {
  readonly key: Exclude<keyof Sampling, 'reasoning_effort'>
  readonly label: string
  readonly hint: string
  readonly min: number
  readonly max: number
  readonly step: number
}

/** Bounds are the gateway's. */
const NUMBERS: readonly NumberSetting[] = [
  ...[
    {
      key: 'temperature',
      label: 'Temperature',
      hint: '0: always the likeliest word',
      min: 0,
      max: 2,
      step: 0.05
    } as const
  ],
  ...[
    {
      key: 'max_tokens',
      label: 'Longest answer',
      hint: 'In tokens',
      min: 1,
      max: 2 ** 31 - 1,
      step: 1
    } as const
  ],
  ...[
    {
      key: 'top_p',
      label: 'Top p',
      hint: 'Only the likeliest, up to this sum',
      min: 0,
      max: 1,
      step: 0.01
    } as const
  ],
  ...[
    {
      key: 'top_k',
      label: 'Top k',
      hint: 'Only that many of the likeliest',
      min: 0,
      max: 1_000_000,
      step: 1
    } as const
  ],
  ...[
    {
      key: 'min_p',
      label: 'Min p',
      hint: 'Of the likeliest one’s chance',
      min: 0,
      max: 1,
      step: 0.01
    } as const
  ],
  ...[
    { key: 'seed', label: 'Seed', hint: 'The same draws again', min: 0, max: 2 ** 32 - 1, step: 1 } as const
  ]
]
const EFFORTS: readonly { readonly value: string; readonly label: string }[] = [
  { value: '', label: 'as recommended' },
  ...['none', 'minimal', 'low', 'medium', 'high'].map((value) => ({ value, label: value }))
]

interface SettingsDialogProps {
  readonly thread: Thread
  readonly isOpen: boolean
  readonly onClose: () => void
}

/** Holds for the next answer of this conversation. */
export function SettingsDialog({ thread, isOpen, onClose }: SettingsDialogProps): ReactNode {
  useThread(thread)
  const { system, sampling } = thread.conversation
  const set = (change: Partial<Sampling>): void => thread.change({ sampling: { ...sampling, ...change } })
  const reset = (): void => thread.change({ sampling: {} })
  return (
    <Dialog
      title="Settings of this chat"
      isOpen={isOpen}
      onClose={onClose}
      actions={
        <>
          <Button onClick={reset}>As the model recommends</Button>
          <Button look="primary" onClick={onClose}>
            Done
          </Button>
        </>
      }
    >
      <Field label="System prompt" hint="What the model is told before everything else.">
        {(control) => (
          <TextArea
            {...control}
            rows={4}
            value={system}
            onChange={(event) => thread.change({ system: event.target.value })}
          />
        )}
      </Field>
      <div className="grid grid-cols-1 gap-4 sm:grid-cols-2">
        {NUMBERS.map((setting) => (
          <NumberField
            key={setting.key}
            setting={setting}
            value={sampling[setting.key]}
            onChange={(value) => set({ [setting.key]: value })}
          />
        ))}
        <Field label="Reasoning" hint="For models that can.">
          {(control) => (
            <Select
              {...control}
              value={sampling.reasoning_effort ?? ''}
              options={EFFORTS}
              onChange={(value) => set({ reasoning_effort: value === '' ? undefined : (value as Effort) })}
            />
          )}
        </Field>
      </div>
    </Dialog>
  )
}

interface NumberFieldProps {
  readonly setting: NumberSetting
  readonly value: number | undefined
  readonly onChange: (value: number | undefined) => void
}

/** Empty: as the model recommends. What is out of bounds is not taken. */
function NumberField({
  setting: { label, hint, min, max, step },
  value,
  onChange
}: NumberFieldProps): ReactNode {
  const isWhole = step === 1
  const change = (text: string): void => {
    const number = Number(text)
    if (text === '') onChange(undefined)
    else if (number >= min && number <= max && (!isWhole || Number.isInteger(number))) onChange(number)
  }
  return (
    <Field label={label} hint={hint}>
      {(control) => (
        <Input
          {...control}
          type="number"
          inputMode={isWhole ? 'numeric' : 'decimal'}
          {...{ min, max, step }}
          placeholder="as recommended"
          defaultValue={value}
          key={value === undefined ? 'none' : 'some'}
          onChange={(event) => change(event.target.value)}
        />
      )}
    </Field>
  )
}
