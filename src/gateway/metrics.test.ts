import { readFileSync } from 'node:fs'
import { expect, test } from 'vitest'
import { z } from 'zod'
import { Metrics } from './metrics.ts'

const ROOT = new URL('../../', import.meta.url)
const dashboard = z.object({
  panels: z.array(z.object({ title: z.string(), targets: z.array(z.object({ expr: z.string() })) }))
})

function metrics(): Metrics {
  return new Metrics({ queueLength: () => 3, answersActive: () => 2, connections: () => 1 })
}

/** All names that Prometheus has for them. */
async function series(): Promise<Set<string>> {
  const all = await metrics().registry.getMetricsAsJSON()
  return new Set(
    all.flatMap(({ name, type }) =>
      String(type) === 'histogram' ? ['_bucket', '_sum', '_count'].map((end) => name + end) : [name]
    )
  )
}

test('what the dashboard shows is there', async () => {
  const text = readFileSync(new URL('ops/grafana/gateway.json', ROOT), 'utf8')
  const { panels } = dashboard.parse(JSON.parse(text))
  const known = await series()
  const used = panels.flatMap(({ targets }) =>
    targets.flatMap(({ expr }) => expr.match(/\b(?:shoal|process|nodejs)_\w+/g) ?? ['none'])
  )
  expect(used.filter((name) => !known.has(name))).toEqual([])
})

test('the dashboard shows, and the docs explain, all that the gateway counts', async () => {
  const names = (await metrics().registry.getMetricsAsJSON())
    .map(({ name }) => name)
    .filter((name) => name.startsWith('shoal_'))
  expect(names.length).toBeGreaterThan(10)
  for (const file of ['ops/grafana/gateway.json', 'docs/METRICS.md']) {
    const text = readFileSync(new URL(file, ROOT), 'utf8')
    expect([file, names.filter((name) => !text.includes(name))]).toEqual([file, []])
  }
})

test('names end with their unit', async () => {
  for (const { name, type } of await metrics().registry.getMetricsAsJSON()) {
    if (!name.startsWith('shoal_')) continue
    const ends = { counter: /_total$/, histogram: /_(seconds|bytes)$/, gauge: /./, summary: /./ }
    expect(name).toMatch(ends[type as unknown as keyof typeof ends])
  }
})

test('gauges are read when somebody looks', async () => {
  const text = await metrics().registry.metrics()
  expect(text).toContain('shoal_gateway_queue_length 3')
  expect(text).toContain('shoal_gateway_places_taken 2')
  expect(text).toContain('shoal_gateway_connections 1')
})
