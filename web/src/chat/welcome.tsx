import type { ReactNode } from 'react'
import { ApiError } from '../api/http.ts'
import { EmptyState, ErrorNotice, IconFish } from '../ui/index.ts'
import { KeyForm } from './key-form.tsx'
import { useModels } from './models-query.ts'

/** Before anything was said: what this is, or what is in the way. */
export function Welcome(): ReactNode {
  return (
    <div className="flex min-h-0 grow items-center justify-center overflow-y-auto p-3">
      <Hint />
    </div>
  )
}

const UNAUTHORIZED = 401

function Hint(): ReactNode {
  const { data, error, refetch } = useModels()
  const again = (): void => void refetch()
  if (data === undefined && error instanceof ApiError && error.status === UNAUTHORIZED) {
    return (
      <EmptyState icon={<IconFish />} title="This gateway asks for a key" action={<KeyForm onKey={again} />}>
        Who runs it gives you one. It is kept in this browser.
      </EmptyState>
    )
  }
  if (data === undefined && error !== null) {
    return (
      <ErrorNotice title="The models can’t be listed" onRetry={again}>
        {error.message}
      </ErrorNotice>
    )
  }
  if (data?.length === 0) {
    return (
      <EmptyState icon={<IconFish />} title="There is no model yet">
        Nobody in this swarm hosts one. Under “My node” you can pull a model and share your machine.
      </EmptyState>
    )
  }
  return (
    <EmptyState icon={<IconFish />} title="Ask anything">
      Many people’s machines compute the answer together. Those that do see what you write, so keep secrets
      out of it; your conversations are kept in this browser only.
    </EmptyState>
  )
}
