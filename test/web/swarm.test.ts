// Swarm health: a span's only node goes away, and another comes.
import type { Browser } from 'playwright-core'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { inBrowser, launch, visit } from './browser.ts'
import { Place } from './place.ts'

/** Until a node that is gone is no longer counted on, in milliseconds. */
const NOTICED = 30_000

inBrowser('swarm health', () => {
  let place: Place
  let browser: Browser

  beforeAll(async () => {
    ;[place, browser] = await Promise.all([Place.start(), launch()])
  })

  afterAll(async () => {
    await browser?.close()
    await place?.stop()
  })

  test('shows a gap, what would repair it, and the repair', async () => {
    const { page, context, errors } = await visit(browser, place.url)
    await page.goto('/swarm')
    const card = page.getByRole('listitem').filter({ has: page.getByRole('heading', { name: 'demo' }) })
    const bar = card.getByRole('img')
    await card.getByText('Covered, one node deep').waitFor()
    expect(await bar.getAttribute('aria-label')).toContain('0–7: 1 node')
    await place.lose('3-6')
    await card.getByText('Broken').waitFor({ timeout: NOTICED })
    expect(await bar.getAttribute('aria-label')).toContain('3–5: nobody')
    await card.getByText(/^Blocks 3–5 of .*: nobody hosts them/).waitFor()
    await place.host('3-6')
    await card.getByText('Covered, one node deep').waitFor({ timeout: NOTICED })
    expect(errors).toEqual([])
    await context.close()
  })

  test('is there by its address, for one model, and as JSON', async () => {
    const { page, context } = await visit(browser, place.url)
    await page.goto('/swarm')
    await page.getByRole('link', { name: 'demo' }).click()
    const shared = page.url()
    expect(shared).toMatch(/\/swarm\?model=\w+/)
    await page.goto(shared)
    await page.getByText('Covered, one node deep').waitFor()
    const json = await (await page.request.get('/api/swarm')).json()
    expect(json.models).toMatchObject([{ name: 'Shoal demo', isCovered: true }])
    await context.close()
  })
})
