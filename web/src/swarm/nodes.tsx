// biome-ignore-all lint/a11y/useSemanticElements: rows that are placed one by one are no table for a browser, so they say what they are
// biome-ignore-all lint/a11y/useFocusableInteractive: nothing here can be pressed
import { useVirtualizer } from '@tanstack/react-virtual'
import { type ReactNode, useLayoutEffect, useRef, useState } from 'react'
import type { SwarmNode } from '../api/swarm.ts'
import { Badge, cx } from '../ui/index.ts'
import { blocks, milliseconds, plural, sentence, shortPeer } from '../units.ts'

export interface NodesProps {
  readonly nodes: readonly SwarmNode[]
  /** This gateway's own. */
  readonly self: string
  readonly nameOf: (model: string) => string
}

const ROW_PIXELS = 57
const GRID =
  'grid grid-cols-[minmax(0,1fr)_auto] gap-x-4 gap-y-0.5 md:grid-cols-[12rem_minmax(0,1fr)_minmax(6rem,14rem)_5rem]'

/** Only the rows that are seen are there: a swarm may have a thousand. They scroll with the page. */
export function Nodes({ nodes, self, nameOf }: NodesProps): ReactNode {
  const list = useRef<HTMLDivElement>(null)
  const [offset, setOffset] = useState(0)
  const scroller = (): HTMLElement | null => document.getElementById('main')
  useLayoutEffect(() => {
    const main = scroller()
    if (list.current === null || main === null) return
    const top = list.current.getBoundingClientRect().top - main.getBoundingClientRect().top + main.scrollTop
    setOffset(Math.round(top))
  })
  const rows = useVirtualizer({
    count: nodes.length,
    getScrollElement: scroller,
    estimateSize: () => ROW_PIXELS,
    scrollMargin: offset,
    overscan: 10
  })
  return (
    <div role="table" aria-label="Nodes" aria-rowcount={nodes.length + 1} className="text-sm">
      <div role="row" className={cx(GRID, 'border-b border-line pb-1 text-soft')}>
        <span role="columnheader">Node</span>
        <span role="columnheader" className="order-3 md:order-none">
          Hosts
        </span>
        <span role="columnheader" className="order-4 md:order-none">
          Reached
        </span>
        <span role="columnheader" className="text-right">
          Distance
        </span>
      </div>
      <div ref={list} role="rowgroup" className="relative" style={{ height: rows.getTotalSize() }}>
        {rows.getVirtualItems().map((row) => {
          const node = nodes[row.index]
          return (
            node !== undefined && (
              <div
                key={row.key}
                ref={rows.measureElement}
                data-index={row.index}
                role="row"
                aria-rowindex={row.index + 2}
                className={cx(GRID, 'absolute inset-x-0 top-0 border-b border-line py-2')}
                style={{ transform: `translateY(${row.start - offset}px)` }}
              >
                <NodeCells node={node} isSelf={node.peer === self} nameOf={nameOf} />
              </div>
            )
          )
        })}
      </div>
    </div>
  )
}

interface CellsProps {
  readonly node: SwarmNode
  readonly isSelf: boolean
  readonly nameOf: (model: string) => string
}

function NodeCells({ node, isSelf, nameOf }: CellsProps): ReactNode {
  return (
    <>
      <span role="cell" className="flex flex-wrap content-start items-baseline gap-x-2" title={node.peer}>
        <span className="font-mono">{shortPeer(node.peer)}</span>
        {node.version !== undefined && <span className="text-soft">{node.version}</span>}
        {isSelf && <Badge tone="accent">this node</Badge>}
      </span>
      <span role="cell" className="order-3 col-span-2 md:order-none md:col-span-1">
        {node.spans.length === 0 && <span className="text-soft">nothing yet</span>}
        {node.spans.map((span) => (
          <span key={`${span.model} ${span.start}`} className="block">
            {nameOf(span.model)} {blocks(span.start, span.end)}
            <span className="text-soft">{load(span)}</span>
          </span>
        ))}
      </span>
      <span role="cell" className="order-4 col-span-2 md:order-none md:col-span-1">
        {isSelf ? '' : REACHED[node.reachability ?? 'unknown']}
        {node.why !== undefined && <span className="block text-soft">{sentence(node.why)}</span>}
      </span>
      <span role="cell" className="text-right tabular-nums">
        {isSelf ? 'here' : node.rttMs === undefined ? '?' : milliseconds(node.rttMs)}
      </span>
    </>
  )
}

const REACHED: Readonly<Record<NonNullable<SwarmNode['reachability']>, string>> = {
  direct: 'directly',
  relayed: 'through others',
  unknown: 'not known'
}

/** Speed and load, as far as they are told. */
function load({ state, decodeMs, sessions, demand }: SwarmNode['spans'][number]): string {
  const said = [
    state === 'loading' && 'loading',
    decodeMs !== undefined && `${milliseconds(decodeMs)} a token`,
    sessions !== undefined && `up to ${plural(sessions, 'session')}`,
    demand !== undefined && demand > 0 && `${demand.toFixed(1)} opened a minute`
  ]
  return said
    .filter(Boolean)
    .map((part) => ` · ${part}`)
    .join('')
}
