// A conversation, from the first word to the repair of a chain in the middle of an answer.
import type { Browser } from 'playwright-core'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { eventually } from '../swarm.ts'
import { inBrowser, launch, NARROW, visit } from './browser.ts'
import { answered, answers, openChat, STORY, say, setLength, stopButton } from './chat-page.ts'
import { Place, SPANS } from './place.ts'

/** In tokens: seconds of text, to do something in the middle of. */
const LONG = 800

inBrowser('the chat', () => {
  let place: Place
  let browser: Browser

  beforeAll(async () => {
    ;[place, browser] = await Promise.all([Place.start([...SPANS, '3-6']), launch()])
  })

  afterAll(async () => {
    await browser?.close()
    await place?.stop()
  })

  test('streams, stops, answers again, and is there after a reload', async () => {
    const { page, context, errors } = await visit(browser, place.url)
    await openChat(page)
    await setLength(page, LONG)
    await say(page, STORY)
    const answer = answers(page).last()
    const text = async (): Promise<string> => (await answer.textContent()) ?? ''
    await eventually(async () => expect((await text()).length).toBeGreaterThan(80))
    const early = await text()
    await eventually(async () => expect((await text()).length).toBeGreaterThan(early.length + 100))
    await stopButton(page).click()
    await answer.getByText('Stopped').waitFor()
    await setLength(page, 24)
    await answer.getByRole('button', { name: 'Answer again' }).click()
    await answer.getByText('2/2').waitFor()
    await answered(page)
    await answer.getByText(/24 tokens/).waitFor()
    const before = await text()
    await page.reload()
    await answer.getByText('2/2').waitFor()
    expect(await text()).toBe(before)
    await answer.getByRole('button', { name: 'Earlier version' }).click()
    await answer.getByText('Stopped').waitFor()
    expect(errors).toEqual([])
    await context.close()
  })

  test('an edited question begins a branch', async () => {
    const { page, context } = await visit(browser, place.url, { viewport: NARROW })
    await openChat(page)
    await setLength(page, 12)
    await say(page, STORY)
    await answered(page)
    await page.getByRole('button', { name: 'Edit and ask again' }).click()
    await say(page, 'Tell me about a whale.')
    await page.getByRole('article', { name: 'You' }).getByText('2/2').waitFor()
    await answered(page)
    await page.getByRole('button', { name: 'Earlier version' }).first().click()
    await page.getByText(STORY).last().waitFor()
    await context.close()
  })

  test('shows who answered, hop by hop', async () => {
    const { page, context } = await visit(browser, place.url)
    await openChat(page)
    await setLength(page, 12)
    await say(page, STORY)
    await answered(page)
    await page.getByRole('button', { name: '3 nodes' }).click()
    const hops = page.getByRole('listitem').filter({ hasText: /^.*blocks \d/ })
    await eventually(async () => expect(await hops.allTextContents()).toHaveLength(3))
    await context.close()
  })

  test('shows the repair while the text goes on, when a node is killed in the middle', async () => {
    const { page, context, errors } = await visit(browser, place.url)
    await openChat(page)
    await setLength(page, LONG)
    const idle = place.computed('3-6')
    await say(page, STORY)
    const answer = answers(page).last()
    await eventually(async () => expect((await answer.textContent())?.length).toBeGreaterThan(60))
    const busy = [...place.computed('3-6')]
      .filter(([peer, rows]) => rows !== idle.get(peer))
      .map(([peer]) => peer)
    expect(busy).toHaveLength(1)
    const before = (await answer.textContent()) ?? ''
    await place.lose('3-6', (peer) => busy.includes(peer))
    // While it is still being written: later it is behind "Repaired once on the way".
    await answer.getByRole('status').getByText('Repaired', { exact: true }).waitFor()
    expect(await stopButton(page).isVisible()).toBe(true)
    await eventually(async () =>
      expect((await answer.textContent())?.length).toBeGreaterThan(before.length + 200)
    )
    await answered(page)
    await answer.getByText('Repaired 1 time on the way').waitFor()
    await answer.getByRole('button', { name: '3 nodes' }).click()
    await page.getByText('took over').waitFor()
    expect(errors).toEqual([])
    await context.close()
  })
})
