import { lazy, type ReactNode, Suspense, useEffect, useRef, useState } from 'react'
import type { SwarmReport } from '../api/swarm.ts'
import { Fact } from '../ui/fact.tsx'
import { Spinner } from '../ui/index.ts'
import { EVERY_MS, perMinute, type Sample, withSample } from './history.ts'

const Chart = lazy(() => import('./chart.tsx').then((module) => ({ default: module.Chart })))
const ROWS = 10

function useSamples(now: SwarmReport['gateway']): readonly Sample[] {
  const latest = useRef(now)
  latest.current = now
  const [samples, setSamples] = useState<readonly Sample[]>([])
  useEffect(() => {
    const take = (): void => {
      const sample = { ...latest.current, at: Date.now() / 1_000 }
      setSamples((before) => withSample(before, sample))
    }
    take()
    const timer = setInterval(take, EVERY_MS)
    return () => clearInterval(timer)
  }, [])
  return samples
}

/** What this gateway answers, now and since the page was opened. */
export function Throughput({ now }: { readonly now: SwarmReport['gateway'] }): ReactNode {
  const samples = useSamples(now)
  return (
    <>
      <dl className="flex flex-wrap gap-x-8 gap-y-3">
        <Fact label="Tokens per second">{now.tokensPerSecond.toFixed(1)}</Fact>
        <Fact label="Answers now">{now.answering}</Fact>
        <Fact label="Waiting">{now.waiting}</Fact>
      </dl>
      <Suspense fallback={<Spinner label="Loading the chart" className="h-48 text-soft" />}>
        <Chart samples={samples} />
      </Suspense>
      <details className="text-sm">
        <summary className="w-fit text-soft hover:text-ink">As a table</summary>
        <table className="mt-2 w-full max-w-xl text-left tabular-nums">
          <thead>
            <tr className="text-soft">
              <th scope="col">Minute</th>
              <th scope="col">Tokens per second</th>
              <th scope="col">Answers</th>
              <th scope="col">Waiting</th>
            </tr>
          </thead>
          <tbody>
            {perMinute(samples)
              .slice(0, ROWS)
              .map(({ at, tokensPerSecond, answering, waiting }) => (
                <tr key={at}>
                  <th scope="row" className="font-normal">
                    {new Date(at * 1_000).toLocaleTimeString([], { hour: '2-digit', minute: '2-digit' })}
                  </th>
                  <td>{tokensPerSecond.toFixed(1)}</td>
                  <td>{answering.toFixed(1)}</td>
                  <td>{waiting.toFixed(1)}</td>
                </tr>
              ))}
          </tbody>
        </table>
      </details>
    </>
  )
}
