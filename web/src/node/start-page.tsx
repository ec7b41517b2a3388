import type { ReactNode } from 'react'

export function StartPage(): ReactNode {
  return <h1 className="p-6 text-2xl font-semibold">Welcome</h1>
}
