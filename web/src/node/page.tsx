import type { ReactNode } from 'react'

export function NodePage(): ReactNode {
  return <h1 className="p-6 text-2xl font-semibold">Node</h1>
}
