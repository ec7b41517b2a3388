import type { ReactNode } from 'react'
import { EmptyState, IconFish } from '../ui/index.ts'

export function Welcome(): ReactNode {
  return (
    <div className="flex min-h-0 grow items-center overflow-y-auto">
      <EmptyState icon={<IconFish />} title="Ask anything">
        Many people’s machines compute the answer together. Those that do see what you write, so keep secrets
        out of it; your conversations are kept in this browser only.
      </EmptyState>
    </div>
  )
}
