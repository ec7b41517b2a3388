import { type ReactNode, useState } from 'react'
import { type StoredModelReport, useRemove, useSeed } from '../api/node.ts'
import { Badge, Button, Dialog, IconTrash, Switch } from '../ui/index.ts'
import { bytes, plural } from '../units.ts'

/** How much of a model is there, part by part. */
export function PieceBar({ model }: { readonly model: StoredModelReport }): ReactNode {
  const { bar, piecesThere, pieces, blocks, blockCount } = model
  const path = bar.map((share, at) => (share > 0 ? `M${at} 1V${1 - share}h1V1Z` : '')).join('')
  return (
    <svg
      role="img"
      aria-label={`${piecesThere} of ${plural(pieces, 'piece')}, ${blocks.length} of ${plural(blockCount, 'block')} whole`}
      viewBox={`0 0 ${Math.max(bar.length, 1)} 1`}
      preserveAspectRatio="none"
      className="h-4 w-full rounded border border-edge bg-sunken"
    >
      <path d={path} fill="var(--accent)" />
    </svg>
  )
}

export function StoredModel({ model }: { readonly model: StoredModelReport }): ReactNode {
  const { name, architecture, licence, bytes: size, bytesThere, bytesSent, ratio, peers } = model
  const isWhole = bytesThere === size
  return (
    <li className="flex flex-col gap-2 rounded-xl border border-line p-4">
      <div className="flex flex-wrap items-center gap-2">
        <h4 className="font-semibold">{name}</h4>
        {model.isHosted && <Badge tone="good">hosted</Badge>}
        {model.isPulled && <Badge tone="accent">coming in</Badge>}
        <span className="grow" />
        <Remove model={model} />
      </div>
      <PieceBar model={model} />
      <p className="text-sm text-soft tabular-nums">
        {isWhole ? bytes(size) : `${bytes(bytesThere)} of ${bytes(size)}`} · {architecture}
        {licence !== undefined && ` · ${licence}`} · sent {bytes(bytesSent)}, ratio {ratio.toFixed(2)} ·{' '}
        {plural(peers, 'peer')}
      </p>
      <Seed model={model} />
    </li>
  )
}

function Seed({ model }: { readonly model: StoredModelReport }): ReactNode {
  const seed = useSeed()
  return (
    <Switch
      label={`Seed ${model.name}`}
      hint={
        model.isHashed
          ? 'Others may get its pieces from here.'
          : 'Others can’t check its pieces, so nobody can get them.'
      }
      isOn={seed.isPending ? seed.variables.seed : model.isSeeded}
      isBusy={seed.isPending}
      isDisabled={!model.isHashed}
      onChange={(isWanted) => seed.mutate({ id: model.id, seed: isWanted })}
    />
  )
}

function Remove({ model }: { readonly model: StoredModelReport }): ReactNode {
  const [isAsking, setAsking] = useState(false)
  const remove = useRemove()
  if (model.isHosted)
    return <span className="text-sm text-soft">In use: switch sharing off to remove it.</span>
  return (
    <>
      <Button size="sm" look="danger" icon={<IconTrash />} onClick={() => setAsking(true)}>
        Remove
      </Button>
      <Dialog
        title={`Remove ${model.name}?`}
        isOpen={isAsking}
        onClose={() => setAsking(false)}
        actions={
          <>
            <Button onClick={() => setAsking(false)}>Keep it</Button>
            <Button
              look="danger"
              busy={remove.isPending}
              onClick={() => remove.mutate(model.id, { onSettled: () => setAsking(false) })}
            >
              Remove
            </Button>
          </>
        }
      >
        <p>
          {bytes(model.bytesThere)} are freed. Whoever gets it from here has to find it elsewhere, and so do
          you if you want it back.
        </p>
      </Dialog>
    </>
  )
}
