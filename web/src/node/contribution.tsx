import type { ReactNode } from 'react'
import type { Contribution, NodeReport } from '../api/node.ts'
import { Fact } from '../ui/fact.tsx'
import { bytes, bytesPerSecond, count, duration } from '../units.ts'

/** What others had of this node. */
export function Contributed({
  contribution
}: {
  readonly contribution: NodeReport['contribution']
}): ReactNode {
  const { now, thisRun, total } = contribution
  return (
    <>
      <dl className="flex flex-wrap gap-x-8 gap-y-3">
        <Fact label="Karma" note="in total">
          {count(total.karma)}
        </Fact>
        <Fact label="Computing" note="block-tokens per second">
          {now.blockTokensPerSecond.toFixed(1)}
        </Fact>
        <Fact label="Sending" note="pieces of models">
          {bytesPerSecond(now.bytesSentPerSecond)}
        </Fact>
      </dl>
      <div className="overflow-x-auto">
        <table className="w-full max-w-xl text-left text-sm tabular-nums">
          <thead className="text-soft">
            <tr>
              <td />
              <th scope="col" className="font-normal">
                This run
              </th>
              <th scope="col" className="font-normal">
                In total
              </th>
            </tr>
          </thead>
          <tbody>
            {ROWS.map(({ label, show }) => (
              <tr key={label}>
                <th scope="row" className="py-0.5 pr-4 font-normal">
                  {label}
                </th>
                <td>{show(thisRun)}</td>
                <td>{show(total)}</td>
              </tr>
            ))}
          </tbody>
        </table>
      </div>
      <p className="text-sm text-soft">
        Karma is a thousand block-tokens: tokens times the blocks that they went through here. It is counted
        on this machine and nobody is refused for having none.
      </p>
    </>
  )
}

const ROWS: readonly { readonly label: string; readonly show: (of: Contribution) => string }[] = [
  { label: 'Sessions of others', show: ({ sessions }) => sessions.toLocaleString('en') },
  { label: 'Block-tokens', show: ({ blockTokens }) => count(blockTokens) },
  { label: 'Pieces sent', show: ({ bytesSent }) => bytes(bytesSent) },
  { label: 'Time', show: ({ seconds }) => duration(seconds) }
]
