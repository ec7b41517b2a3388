import { type PointerEvent, type ReactNode, useId, useMemo, useState } from 'react'
import type { SwarmModel } from '../api/swarm.ts'
import { blocks, plural } from '../units.ts'
import { describe, holdersOf, type Segment, segmentsOf } from './coverage.ts'

/** Units of height: as many holders as fill it. More are as high. */
const FULL = 4
/** Of a column: what one holder has at least to be seen. */
const heightOf = (holders: number): number => Math.min(holders, FULL) / FULL

const columns = (segments: readonly Segment[]): string =>
  segments
    .map(({ start, end, holders }) => {
      const height = holders === 0 ? 1 : heightOf(holders)
      return `M${start} 1V${1 - height}H${end}V1Z`
    })
    .join('')

const lines = (blockCount: number): string =>
  Array.from({ length: blockCount - 1 }, (_, index) => `M${index + 1} 0V1`).join('')

/** More lines than that would be all that is seen. */
const MOST_LINES = 128

function said({ start, end, holders }: Segment): string {
  const noun = end - start === 1 ? 'Block' : 'Blocks'
  return `${noun} ${blocks(start, end)}: ${holders === 0 ? 'nobody' : plural(holders, 'node')}`
}

/** Every block of a model as a column: the more nodes host it the higher, and hatched where nobody does. */
export function CoverageBar({ model }: { readonly model: SwarmModel }): ReactNode {
  const hatch = useId()
  const [pointed, setPointed] = useState<Segment>()
  const segments = useMemo(() => segmentsOf(holdersOf(model)), [model])
  const held = segments.filter(({ holders }) => holders > 0)
  const gaps = segments.filter(({ holders }) => holders === 0)
  const point = (event: PointerEvent<SVGSVGElement>): void => {
    const { left, width } = event.currentTarget.getBoundingClientRect()
    const block = Math.floor(((event.clientX - left) / width) * model.blockCount)
    setPointed(segments.find(({ start, end }) => block >= start && block < end))
  }
  return (
    <figure className="flex flex-col gap-1">
      <svg
        role="img"
        aria-label={describe(model)}
        viewBox={`0 0 ${model.blockCount} 1`}
        preserveAspectRatio="none"
        onPointerMove={point}
        onPointerLeave={() => setPointed(undefined)}
        className="h-12 w-full rounded-md border border-edge bg-sunken"
      >
        <defs>
          <pattern
            id={hatch}
            patternUnits="userSpaceOnUse"
            width={model.blockCount / 80}
            height="0.25"
            patternTransform="skewX(-20)"
          >
            <rect width={model.blockCount / 80} height="0.25" fill="var(--bad-tint)" />
            <rect width={model.blockCount / 160} height="0.25" fill="var(--bad)" />
          </pattern>
        </defs>
        <path d={columns(held)} fill="var(--accent)" />
        <path d={columns(gaps)} fill={`url(#${hatch})`} />
        {model.blockCount <= MOST_LINES && (
          <path
            d={lines(model.blockCount)}
            stroke="var(--surface)"
            vectorEffect="non-scaling-stroke"
            strokeWidth="1"
          />
        )}
      </svg>
      <figcaption className="flex justify-between gap-2 text-xs text-soft tabular-nums">
        <span>{pointed === undefined ? 'block 0' : said(pointed)}</span>
        <span>{model.blockCount - 1}</span>
      </figcaption>
      <details className="text-sm">
        <summary className="w-fit text-soft hover:text-ink">Who hosts what, in words</summary>
        <ul className="columns-2 gap-4 pt-1 tabular-nums md:columns-4">
          {segments.map((segment) => (
            <li key={segment.start} className={segment.holders === 0 ? 'font-medium text-bad' : undefined}>
              {said(segment)}
            </li>
          ))}
        </ul>
      </details>
    </figure>
  )
}
