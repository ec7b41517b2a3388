import { type ReactNode, useEffect, useState } from 'react'
import type { Live } from '../api/live.ts'
import { duration } from '../units.ts'
import { Badge } from './badge.tsx'

/** It is told at once when something changes, so that nothing new for longer is as good as new. */
const STALE_MS = 45_000
const TICK_MS = 1_000

function useNow(): number {
  const [now, setNow] = useState(Date.now)
  useEffect(() => {
    const timer = setInterval(() => setNow(Date.now()), TICK_MS)
    return () => clearInterval(timer)
  }, [])
  return now
}

/** How old what is shown may be, and whether it is still followed. Only a broken connection is read out. */
export function Freshness({ live }: { readonly live: Live<unknown> }): ReactNode {
  const now = useNow()
  const { connection, heardAt } = live
  const age = heardAt === 0 ? undefined : Math.max(now - heardAt, 0)
  const isStale = age !== undefined && age > STALE_MS
  const isBroken = connection === 'waiting' || isStale
  return (
    <span className="flex items-center gap-2 text-sm text-soft">
      <span role="status">
        {isBroken ? (
          <Badge tone="warn">Not connected, trying again</Badge>
        ) : (
          connection === 'live' && <Badge tone="good">Live</Badge>
        )}
      </span>
      {isBroken && age !== undefined && <span>as of {duration(age / 1_000)} ago</span>}
    </span>
  )
}
