import type { ReactNode } from 'react'
import { EmptyState, IconNode, Link } from '../ui/index.ts'

/** A public gateway: there is no node of this person's behind it. */
export function NotYours(): ReactNode {
  return (
    <EmptyState icon={<IconNode />} title="This is somebody else’s gateway">
      <p>
        You can chat here and look at the swarm. A node of your own answers without asking anybody, and can
        share: get Shoal, and run
      </p>
      <pre className="my-3 rounded-lg bg-sunken p-3 text-left font-mono text-sm text-ink">
        {'npm ci\nnpm run shoal -- up'}
      </pre>
      <p>
        Then open the address that it prints.{' '}
        <Link to="/" className="text-accent underline">
          Back to the chat
        </Link>
      </p>
    </EmptyState>
  )
}
