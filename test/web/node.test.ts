// My own node: the first run, sharing on and off, and a model that comes in.
import type { Browser } from 'playwright-core'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { eventually } from '../swarm.ts'
import { inBrowser, launch, visit } from './browser.ts'
import { ON_HUB, Place } from './place.ts'

/** In MB/s: a model of two megabytes takes some seconds. */
const DOWNLOAD = '0.4'

inBrowser('my node', () => {
  let place: Place
  let browser: Browser

  beforeAll(async () => {
    ;[place, browser] = await Promise.all([Place.start(), launch()])
  })

  afterAll(async () => {
    await browser?.close()
    await place?.stop()
  })

  test('who comes first is asked, once, and can chat without sharing', async () => {
    const { page, context } = await visit(browser, place.url, { isNew: true })
    await page.goto('/')
    await page.getByRole('heading', { name: 'Welcome to Shoal' }).waitFor()
    await page.getByRole('button', { name: 'Just chat' }).click()
    await page.getByPlaceholder('Write a message').waitFor()
    await page.reload()
    await page.getByPlaceholder('Write a message').waitFor()
    expect(new URL(page.url()).pathname).toBe('/')
    await context.close()
  })

  test('sharing is switched on, paused, and switched off', async () => {
    const { page, context, errors } = await visit(browser, place.url)
    await page.goto('/node')
    const sharing = page.getByRole('switch', { name: 'Share this machine' })
    const state = page.getByRole('tabpanel').getByRole('status')
    const isOn = (): Promise<string | null> => sharing.getAttribute('aria-checked')
    expect(await isOn()).toBe('false')
    await sharing.click()
    await state.getByText('On', { exact: true }).waitFor()
    expect(await isOn()).toBe('true')
    await page.getByText(/blocks \d.* of 8/).waitFor()
    await page.getByRole('button', { name: 'Pause' }).click()
    await state.getByText('Paused', { exact: true }).waitFor()
    await page.getByRole('button', { name: 'Resume' }).click()
    await state.getByText('On', { exact: true }).waitFor()
    await sharing.click()
    await state.getByText('Off', { exact: true }).waitFor()
    expect(await isOn()).toBe('false')
    expect(errors).toEqual([])
    await context.close()
  })

  test('a model is pulled with live progress, and removed', async () => {
    const { page, context, errors } = await visit(browser, place.url)
    await page.goto('/node?tab=limits')
    await page.getByLabel('Download (MB/s)').fill(DOWNLOAD)
    await page.getByRole('button', { name: 'Save' }).click()
    await page.getByText('Saved').waitFor()
    await page.getByRole('tab', { name: 'Models' }).click()
    await page.getByLabel('Get a model').fill(ON_HUB)
    await page.getByRole('button', { name: 'Get', exact: true }).click()
    const bar = page.getByRole('region', { name: 'Downloads' }).getByRole('progressbar')
    const seen = new Set<number>()
    await eventually(async () => {
      const value = Number(await bar.getAttribute('aria-valuenow', { timeout: 5_000 }))
      if (value > 0 && value < 100) seen.add(value)
      expect(seen.size).toBeGreaterThan(1)
    })
    await page.getByRole('region', { name: 'Downloads' }).getByText('There', { exact: true }).waitFor()
    const stored = page.getByRole('region', { name: 'On disk' }).getByRole('listitem')
    await stored.getByRole('img', { name: /8 of 8 blocks whole/ }).waitFor()
    await stored.getByRole('button', { name: 'Remove' }).click()
    await page.getByRole('dialog').getByRole('button', { name: 'Remove' }).click()
    await page.getByText('No model is on this disk').waitFor()
    expect(errors).toEqual([])
    await context.close()
  })
})
