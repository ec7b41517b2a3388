import { type KeyboardEvent, type ReactNode, useEffect, useId, useState } from 'react'
import { type Model, searchModels } from '../api/models.ts'
import {
  Badge,
  Button,
  cx,
  ErrorNotice,
  IconCheck,
  IconChevronDown,
  Input,
  Popover,
  Spinner
} from '../ui/index.ts'
import { blocks, count, plural } from '../units.ts'
import { useModels } from './models-query.ts'

interface ModelPickerProps {
  readonly name: string | undefined
  readonly onPick: (name: string) => void
}

const LAST = 'shoal.chat.model'

export function ModelPicker({ name, onPick }: ModelPickerProps): ReactNode {
  const models = useModels()
  const first = (models.data ?? []).find(({ isCovered }) => isCovered)?.name
  useEffect(() => {
    if (name !== undefined || models.data === undefined) return
    const last = models.data.find((model) => model.name === localStorage.getItem(LAST))
    const wanted = last?.isCovered ? last.name : first
    if (wanted !== undefined) onPick(wanted)
  }, [name, models.data, first, onPick])
  const pick = (next: string): void => {
    localStorage.setItem(LAST, next)
    onPick(next)
  }
  const chosen = models.data?.find((model) => model.name === name)
  return (
    <Popover
      label="Models"
      className="w-104 p-2"
      button={(opener) => (
        <Button {...opener} look="ghost" className="min-w-0 px-2!">
          <span className="truncate">{name ?? (models.isPending ? 'Loading…' : 'Choose a model')}</span>
          {chosen?.isCovered === false && (
            <span className="shrink-0">
              <Badge tone="bad">not covered</Badge>
            </span>
          )}
          <IconChevronDown />
        </Button>
      )}
    >
      {(close) => {
        if (models.isPending) return <Spinner label="Asking the swarm" className="p-3" />
        if (models.isError) {
          return (
            <ErrorNotice title="The models can’t be listed" onRetry={() => void models.refetch()}>
              {models.error.message}
            </ErrorNotice>
          )
        }
        return (
          <Choice
            models={models.data}
            name={name}
            onPick={(next) => {
              close()
              pick(next)
            }}
          />
        )
      }}
    </Popover>
  )
}

interface ChoiceProps {
  readonly models: readonly Model[]
  readonly name: string | undefined
  readonly onPick: (name: string) => void
}

/** A combobox whose list is always open. https://www.w3.org/WAI/ARIA/apg/patterns/combobox */
function Choice({ models, name, onPick }: ChoiceProps): ReactNode {
  const id = useId()
  const [query, setQuery] = useState('')
  const [active, setActive] = useState(0)
  const found = searchModels(models, query)
  const at = Math.min(active, found.length - 1)
  useEffect(() => {
    // Newer browsers return a promise here, which an effect may not.
    document.getElementById(`${id}-${at}`)?.scrollIntoView({ block: 'nearest' })
  }, [id, at])
  const onKeyDown = (event: KeyboardEvent): void => {
    const steps: Readonly<Record<string, number>> = { ArrowDown: 1, ArrowUp: -1 }
    const step = steps[event.key]
    const model = found[at]
    if (step !== undefined) setActive((at + step + found.length) % Math.max(1, found.length))
    else if (event.key === 'Enter' && model !== undefined) onPick(model.name)
    else return
    event.preventDefault()
  }
  return (
    <>
      <Input
        role="combobox"
        aria-label="Search models"
        aria-expanded="true"
        aria-autocomplete="list"
        aria-controls={`${id}-list`}
        aria-activedescendant={at < 0 ? undefined : `${id}-${at}`}
        placeholder="Search by name or licence"
        value={query}
        onKeyDown={onKeyDown}
        onChange={(event) => {
          setQuery(event.target.value)
          setActive(0)
        }}
      />
      <div role="listbox" id={`${id}-list`} aria-label="Models" className="mt-2 max-h-96 overflow-y-auto">
        {found.map((model, index) => (
          // biome-ignore lint/a11y/useKeyWithClickEvents: the combobox has the keys
          <div
            key={model.name}
            id={`${id}-${index}`}
            role="option"
            tabIndex={-1}
            aria-selected={model.name === name}
            onClick={() => onPick(model.name)}
            onPointerMove={() => setActive(index)}
            className={cx(
              'flex cursor-pointer items-start gap-2 rounded-lg px-2.5 py-2',
              index === at && 'bg-sunken'
            )}
          >
            <span className="w-5 pt-0.5">{model.name === name && <IconCheck />}</span>
            <span className="min-w-0 grow">
              <span className="flex flex-wrap items-center gap-x-2 font-medium">
                {model.name} <Coverage model={model} />
              </span>
              <span className="block text-sm text-soft">{factsOf(model)}</span>
            </span>
          </div>
        ))}
      </div>
      <p role="status" className={found.length > 0 ? 'sr-only' : 'p-2 text-sm text-soft'}>
        {found.length > 0 ? plural(found.length, 'model') : 'No model here is called that.'}
      </p>
    </>
  )
}

function Coverage({ model: { isCovered, missing } }: { readonly model: Model }): ReactNode {
  if (isCovered) return <Badge tone="good">covered</Badge>
  const names = missing.map(([start, end]) => blocks(start, end)).join(', ')
  return <Badge tone="bad">{names === '' ? 'not covered' : `nobody has blocks ${names}`}</Badge>
}

function factsOf({ blockCount, context, nodes, licence }: Model): string {
  const facts = [
    plural(nodes, 'node'),
    context !== undefined && `${count(context)} tokens of context`,
    plural(blockCount, 'block'),
    licence ?? 'licence unknown'
  ]
  return facts.filter(Boolean).join(' · ')
}
