import type { ReactNode } from 'react'

export function SwarmPage(): ReactNode {
  return <h1 className="p-6 text-2xl font-semibold">Swarm</h1>
}
