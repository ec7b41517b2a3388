/** Tokens per second over time: uPlot, loaded only where it is looked at. */
import { type ReactNode, useEffect, useRef } from 'react'
import uPlot from 'uplot'
import { useIsDark } from '../ui/index.ts'
import 'uplot/dist/uPlot.min.css'
import type { Sample } from './history.ts'

const HEIGHT = 180
/** Of a time, with room around it. */
const LABEL_PIXELS = 90
/** Less would be a chart of noise. */
const LEAST_SECONDS = 60

function dataOf(samples: readonly Sample[]): uPlot.AlignedData {
  return [samples.map(({ at }) => at), samples.map(({ tokensPerSecond }) => tokensPerSecond)]
}

const CLOCK = new Intl.DateTimeFormat([], {
  hour: '2-digit',
  minute: '2-digit',
  second: '2-digit',
  hour12: false
})
const timeOf = (seconds: number): string => CLOCK.format(seconds * 1_000)

function makePlot(target: HTMLElement): uPlot {
  const styles = getComputedStyle(document.documentElement)
  const colour = (name: string): string => styles.getPropertyValue(name)
  const axis = {
    stroke: colour('--soft'),
    grid: { stroke: colour('--line'), width: 1 },
    ticks: { show: false }
  }
  return new uPlot(
    {
      width: target.clientWidth,
      height: HEIGHT,
      legend: { show: false },
      cursor: { y: false },
      scales: {
        x: {
          range: (_plot, first, last = Date.now() / 1_000) => [
            Math.min(first ?? last, last - LEAST_SECONDS),
            last
          ]
        },
        y: { range: (_plot, _least, most) => [0, Math.max(most * 1.1, 1)] }
      },
      axes: [
        { ...axis, space: LABEL_PIXELS, values: (_plot, at) => at.map(timeOf) },
        { ...axis, size: 40 }
      ],
      series: [{}, { stroke: colour('--accent'), width: 2, fill: colour('--tint'), points: { show: false } }]
    },
    [[], []],
    target
  )
}

export function Chart({ samples }: { readonly samples: readonly Sample[] }): ReactNode {
  const isDark = useIsDark()
  const target = useRef<HTMLDivElement>(null)
  const plot = useRef<uPlot>(undefined)
  // biome-ignore lint/correctness/useExhaustiveDependencies: a canvas does not follow the theme's variables by itself
  useEffect(() => {
    const element = target.current
    if (element === null) return
    const made = makePlot(element)
    plot.current = made
    const resized = new ResizeObserver(() => made.setSize({ width: element.clientWidth, height: HEIGHT }))
    resized.observe(element)
    return () => {
      resized.disconnect()
      made.destroy()
    }
  }, [isDark])
  // biome-ignore lint/correctness/useExhaustiveDependencies: a new plot is empty
  useEffect(() => plot.current?.setData(dataOf(samples)), [samples, isDark])
  const last = samples.at(-1)?.tokensPerSecond ?? 0
  return (
    <div
      ref={target}
      role="img"
      aria-label={`Tokens per second since this page was opened, now ${last.toFixed(1)}. The same as a table below.`}
      className="min-w-0 overflow-hidden"
    />
  )
}
