import { useQuery } from '@tanstack/react-query'
import { type FormEvent, type ReactNode, useId, useState } from 'react'
import { fetchModels } from '../api/models.ts'
import { type NodeReport, usePull } from '../api/node.ts'
import { Button, EmptyState, Field, IconDownload, Input, toast } from '../ui/index.ts'
import { Pull } from './pull.tsx'
import { StoredModel } from './stored-model.tsx'

/** On this machine's disk, and what comes to it. */
export function Models({ report }: { readonly report: Pick<NodeReport, 'models' | 'pulls'> }): ReactNode {
  const { models, pulls } = report
  return (
    <div className="flex flex-col gap-6">
      <PullForm />
      {pulls.length > 0 && (
        <section aria-label="Downloads" className="flex flex-col gap-2">
          <h3 className="font-semibold">Downloads</h3>
          <ul className="flex flex-col gap-2">
            {pulls.map((pull) => (
              <Pull key={pull.id} pull={pull} />
            ))}
          </ul>
        </section>
      )}
      <section aria-label="On disk" className="flex flex-col gap-2">
        <h3 className="font-semibold">On disk</h3>
        {models.length === 0 ? (
          <EmptyState title="No model is on this disk">
            Chatting needs none: others host them. With one you can host or seed it.
          </EmptyState>
        ) : (
          <ul className="flex flex-col gap-3">
            {models.map((model) => (
              <StoredModel key={model.id} model={model} />
            ))}
          </ul>
        )}
      </section>
    </div>
  )
}

function PullForm(): ReactNode {
  const names = useId()
  const [name, setName] = useState('')
  const pull = usePull()
  const known =
    useQuery({ queryKey: ['/v1/models'], queryFn: ({ signal }) => fetchModels(signal) }).data ?? []
  const submit = (event: FormEvent): void => {
    event.preventDefault()
    if (name.trim() === '') return
    pull.mutate(
      { name: name.trim() },
      {
        onSuccess: () => {
          toast(`Getting ${name.trim()}`)
          setName('')
        }
      }
    )
  }
  return (
    <form onSubmit={submit} className="flex flex-wrap items-start gap-2">
      <div className="min-w-48 grow md:max-w-md">
        <Field
          label="Get a model"
          hint="Such as qwen3:8b, hf:user/repo:QUANT, or a model’s id."
          error={pull.error?.message}
        >
          {(control) => (
            <Input
              {...control}
              list={names}
              autoComplete="off"
              autoCapitalize="none"
              spellCheck={false}
              value={name}
              onChange={(event) => setName(event.target.value)}
            />
          )}
        </Field>
        <datalist id={names}>
          {known.map((model) => (
            <option key={model.name} value={model.name} />
          ))}
        </datalist>
      </div>
      <Button
        type="submit"
        look="primary"
        icon={<IconDownload />}
        busy={pull.isPending}
        className="sm:mt-[1.6875rem]"
      >
        Get
      </Button>
    </form>
  )
}
