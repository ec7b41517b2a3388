// How much is loaded first, how soon the page answers while text streams in, and how a long conversation scrolls.
import { gzipSync } from 'node:zlib'
import type { Browser, Page, Request } from 'playwright-core'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { inBrowser, launch, visit } from './browser.ts'
import { answers, composer, openChat, STORY, say, setLength, stopButton } from './chat-page.ts'
import { importAndOpen } from './history.ts'
import { pace } from './pacing.ts'
import { Place } from './place.ts'

/** Of JavaScript, compressed, until somebody can chat. */
const FIRST_LOAD_BYTES = 250_000
/** Web Vitals call up to this "good", in milliseconds. */
const INP_MS = 200
const TOKENS_PER_SECOND = 100
const TYPED = 'While it writes I type all of this, and none of it lags.'
const MESSAGES = 10_000
/** Twenty pictures a second, on a machine that draws without a graphics card, in milliseconds. */
const FRAME_MS = 50
const ELEMENTS = 200

inBrowser('figures', () => {
  let place: Place
  let browser: Browser

  beforeAll(async () => {
    ;[place, browser] = await Promise.all([Place.start(), launch()])
  })

  afterAll(async () => {
    await browser?.close()
    await place?.stop()
  })

  test('the first load', async () => {
    const { page, context } = await visit(browser, place.url)
    const scripts: Request[] = []
    page.on('request', (request) => {
      if (request.resourceType() === 'script') scripts.push(request)
    })
    const begun = performance.now()
    await openChat(page)
    const ms = performance.now() - begun
    const sizes = await Promise.all(
      [...scripts].map(async (script) => gzipSync((await (await script.response())?.body()) ?? '').length)
    )
    const bytes = sizes.reduce((sum, size) => sum + size, 0)
    console.log(
      `first load: ${(bytes / 1_000).toFixed(1)} kB of JavaScript, compressed, in ${sizes.length} files; usable after ${ms.toFixed(0)} ms`
    )
    expect(sizes.length).toBeGreaterThan(1)
    expect(bytes).toBeLessThanOrEqual(FIRST_LOAD_BYTES)
    await context.close()
  })

  test('interaction to next paint while text streams in', async () => {
    const pacing = await pace(place.url, TOKENS_PER_SECOND)
    const { page, context } = await visit(browser, pacing.url)
    await openChat(page)
    await setLength(page, 900)
    let rate: number
    do {
      await say(page, STORY)
      await answers(page).last().locator('.markdown').waitFor()
      await page.evaluate(() => {
        const seen: PerformanceEntry[] = []
        const options = { type: 'event', durationThreshold: 16 } as PerformanceObserverInit
        new PerformanceObserver((list) => seen.push(...list.getEntries())).observe(options)
        Object.assign(globalThis, { seen })
      })
      const text = (): Promise<string | null> => answers(page).last().textContent()
      const [begun, before] = [performance.now(), (await text())?.length ?? 0]
      await composer(page).pressSequentially(TYPED, { delay: 15 })
      rate = (((await text())?.length ?? 0) - before) / ((performance.now() - begun) / 1_000)
    } while (!(await stopButton(page).isVisible())) // some stories end before all is typed
    const durations = await longest(page)
    const sorted = durations.toSorted((a, b) => b - a)
    const inp = sorted[Math.floor(TYPED.length / 50)] ?? 0 // of fifty, Web Vitals leave the worst out
    console.log(
      `interaction to next paint: ${inp} ms, worst ${sorted[0]} ms, of ${TYPED.length} keys, at ${rate.toFixed(0)} letters/s`
    )
    expect(durations.length).toBeGreaterThan(0)
    expect(rate).toBeGreaterThan(TOKENS_PER_SECOND) // a token has several letters
    expect(inp).toBeLessThan(INP_MS)
    await context.close()
    pacing.stop()
  })

  test('a long conversation scrolls', async () => {
    const { page, context } = await visit(browser, place.url)
    await openChat(page)
    const said = Array.from({ length: MESSAGES }, (_, index) => ({
      role: index % 2 === 0 ? ('user' as const) : ('assistant' as const),
      text: index % 2 === 0 ? `Question ${index}?` : answerAt(index)
    }))
    const begun = performance.now()
    await importAndOpen(page, 'A long one', said)
    const opened = performance.now() - begun
    const elements = async (): Promise<number> => page.getByRole('log').getByRole('article').count()
    expect(await elements()).toBeLessThan(ELEMENTS)
    await page.evaluate(() => {
      const frames: number[] = []
      let last = performance.now()
      const next = (now: number): void => {
        frames.push(now - last)
        last = now
        requestAnimationFrame(next)
      }
      requestAnimationFrame(next)
      Object.assign(globalThis, { frames })
    })
    await page.getByRole('log').hover()
    let most = 0
    for (let turn = 0; turn < 100; turn++) {
      await page.mouse.wheel(0, -240)
      if (turn % 10 === 0) most = Math.max(most, await elements())
    }
    const top = await page.getByRole('log').getByRole('article').first().getAttribute('aria-posinset')
    expect(Number(top)).toBeLessThan(MESSAGES - ELEMENTS / 2) // it did scroll
    const frames = await page.evaluate(() => (globalThis as unknown as { frames: number[] }).frames)
    const sorted = frames.toSorted((a, b) => a - b)
    const [median, p95] = [0.5, 0.95].map((share) => sorted[Math.floor(sorted.length * share)] ?? Infinity)
    console.log(
      `${MESSAGES} messages: imported and opened in ${opened.toFixed(0)} ms; frames ${median?.toFixed(1)} ms in the median, p95 ${p95?.toFixed(1)} ms, of ${frames.length}; at most ${most} messages drawn`
    )
    expect(frames.length).toBeGreaterThan(50)
    expect(p95).toBeLessThan(FRAME_MS)
    expect(most).toBeLessThan(ELEMENTS)
    await context.close()
  })
})

/** The longest event of each interaction, in milliseconds. */
async function longest(page: Page): Promise<readonly number[]> {
  const events = await page.evaluate(() => {
    const { seen } = globalThis as unknown as { seen: (PerformanceEntry & { interactionId: number })[] }
    return seen.map(({ interactionId, duration }) => [interactionId, duration] as const)
  })
  const byInteraction = new Map<number, number>()
  for (const [id, duration] of events) {
    if (id > 0) byInteraction.set(id, Math.max(duration, byInteraction.get(id) ?? 0))
  }
  return [...byInteraction.values()]
}

function answerAt(index: number): string {
  const code = index % 5 === 0 ? '\n\n```js\nconst a = [1, 2, 3].map((x) => x * 2)\n```' : ''
  const list = index % 7 === 0 ? '\n\n- one\n- two\n- three' : ''
  return `Answer ${index}, with *some* words. ${'The little fish swam on and on. '.repeat((index * 7) % 13)}${code}${list}`
}
