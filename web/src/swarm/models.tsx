import type { ReactNode } from 'react'
import type { SwarmModel } from '../api/swarm.ts'
import { Badge, cx, EmptyState, IconSwarm, IconWarning, Link, type Tone } from '../ui/index.ts'
import { bytes, plural } from '../units.ts'
import { type Health, healthOf, hintsFor } from './coverage.ts'
import { CoverageBar } from './coverage-bar.tsx'

const HEALTH: Readonly<Record<Health, { readonly tone: Tone; readonly word: string }>> = {
  covered: { tone: 'good', word: 'Covered' },
  fragile: { tone: 'warn', word: 'Covered, one node deep' },
  broken: { tone: 'bad', word: 'Broken' },
  absent: { tone: 'plain', word: 'Not hosted' }
}

/** The worst first: they need somebody. Those that nobody hosts at all come last. */
const ORDER: readonly Health[] = ['broken', 'fragile', 'covered', 'absent']

function inOrder(models: readonly SwarmModel[]): readonly SwarmModel[] {
  const rank = (model: SwarmModel): number => ORDER.indexOf(healthOf(model))
  return models.toSorted((a, b) => rank(a) - rank(b) || b.demand - a.demand || a.name.localeCompare(b.name))
}

/** Models with their coverage. */
export function Models({ models }: { readonly models: readonly SwarmModel[] }): ReactNode {
  if (models.length === 0) {
    return (
      <EmptyState icon={<IconSwarm />} title="No such model is known here">
        Models appear when a node of the swarm hosts them or waits for them. Yours can be the first:{' '}
        <Link to="/node?tab=models" className="text-accent underline">
          get a model
        </Link>
        .
      </EmptyState>
    )
  }
  return (
    <ul className="grid gap-4 xl:grid-cols-2">
      {inOrder(models).map((model) => (
        <ModelCard key={model.id} model={model} />
      ))}
    </ul>
  )
}

function ModelCard({ model }: { readonly model: SwarmModel }): ReactNode {
  const health = healthOf(model)
  const { tone, word } = HEALTH[health]
  return (
    <li
      className={cx(
        'flex min-w-0 flex-col gap-2 rounded-xl border p-4',
        health === 'broken' ? 'border-bad' : 'border-line'
      )}
    >
      <div className="flex flex-wrap items-center justify-between gap-2">
        <h3 className="font-semibold">
          <Link to={`/swarm?model=${encodeURIComponent(model.id)}`} className="hover:underline">
            {model.name}
          </Link>
        </h3>
        <Badge tone={tone}>
          {health === 'broken' && <IconWarning />}
          {word}
        </Badge>
      </div>
      <CoverageBar model={model} />
      <p className="text-sm text-soft">
        {plural(model.nodes, 'node')}, {plural(model.blockCount, 'block')}
        {model.bytes !== undefined && `, ${bytes(model.bytes)}`}
        {model.licence !== undefined && `, ${model.licence}`}
        {model.demand > 0 && `, ${plural(Math.round(model.demand * 10) / 10, 'session')} a minute`}
      </p>
      {hintsFor(model).map((hint) => (
        <p key={hint} className="text-sm">
          {hint}
        </p>
      ))}
    </li>
  )
}
