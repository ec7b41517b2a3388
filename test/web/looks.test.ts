// For everybody: without violations that axe finds, by keyboard alone, in both themes, on phones, and without motion.
import { readFile } from 'node:fs/promises'
import { createRequire } from 'node:module'
import type { AxeResults } from 'axe-core'
import type { Browser, Page } from 'playwright-core'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { eventually } from '../swarm.ts'
import { inBrowser, launch, NARROW, visit, WIDE } from './browser.ts'
import { answers, composer, openChat, STORY, say, setLength, stopButton } from './chat-page.ts'
import { importAndOpen } from './history.ts'
import { Place } from './place.ts'

const ADDRESSES = [
  '/',
  '/swarm',
  '/start',
  '/nowhere',
  ...['', 'limits', 'models', 'swarm', 'logs'].map((tab) => `/node?tab=${tab}`)
]
const RICH = `# A heading\n\nSome *text*, **bold**, \`code\`, [a link](https://example.org/) and $x^2$.\n\n- a\n- b\n\n> quoted\n\n\`\`\`ts\nconst answer: number = 42 // of course\n\`\`\`\n\n| a | b |\n| - | - |\n| 1 | 2 |\n\n$$\\frac{a}{b}$$`
/** Without motion an animation is over before the next frame, yet one that begins just now does run. */
const SHORTEST_SEEN_MS = 1
/** More than there are stops on any page. */
const STOPS = 60

inBrowser('the pages', () => {
  let place: Place
  let browser: Browser
  let axe: string

  beforeAll(async () => {
    ;[place, browser] = await Promise.all([Place.start(), launch()])
    axe = await readFile(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8')
  })

  afterAll(async () => {
    await browser?.close()
    await place?.stop()
  })

  async function violations(page: Page): Promise<readonly string[]> {
    await page.evaluate(axe) // not as a script: the policy allows none
    const { violations } = await page.evaluate<AxeResults>('axe.run()')
    return violations.flatMap(({ id, nodes }) =>
      nodes.map((node) => `${page.url()} ${id}: ${node.html.slice(0, 200)} (${node.failureSummary})`)
    )
  }

  async function isAlright(page: Page): Promise<void> {
    expect(await violations(page)).toEqual([])
    const overflow = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth)
    expect([page.url(), overflow]).toEqual([page.url(), 0])
  }

  describe.each(['light', 'dark'] as const)('in a %s theme', (colorScheme) => {
    test.each([
      ['wide', WIDE],
      ['narrow', NARROW]
    ])('%s: axe finds nothing, and nothing is wider than the page', async (_, viewport) => {
      const { page, context, errors } = await visit(browser, place.url, {
        viewport,
        colorScheme,
        reducedMotion: 'reduce'
      })
      for (const address of ADDRESSES) {
        await page.goto(address)
        await page.getByRole('heading', { level: 1 }).waitFor({ state: 'attached' })
        await page.getByText(/^(Loading|Asking the (node|swarm))/).waitFor({ state: 'detached' })
        expect(await page.locator('html').getAttribute('data-theme')).toBe(colorScheme)
        await isAlright(page)
      }
      expect(errors).toEqual([])
      await context.close()
    })

    test('what opens over them', async () => {
      const { page, context } = await visit(browser, place.url, { colorScheme, reducedMotion: 'reduce' })
      await openChat(page)
      await importAndOpen(page, 'Rich', [
        { role: 'user', text: 'Show me everything.', attachments: [{ name: 'a.txt', text: 'a' }] },
        { role: 'assistant', text: RICH, reasoning: 'Hm.' }
      ])
      await page.locator('.markdown').first().waitFor()
      await isAlright(page)
      for (const name of [
        'Settings of this chat',
        'Keyboard shortcuts',
        'demo',
        'All conversations',
        'Theme'
      ]) {
        await page.getByRole('button', { name, exact: true }).first().click()
        await isAlright(page)
        await page.keyboard.press('Escape')
      }
      await context.close()
    })
  })

  test('are all there by keyboard', async () => {
    const { page, context } = await visit(browser, place.url)
    await openChat(page)
    await tabTo(page, 'Settings of this chat')
    await page.keyboard.press('Enter')
    await page.getByRole('dialog').waitFor()
    await tabTo(page, 'Longest answer')
    await page.keyboard.type('800')
    await page.keyboard.press('Escape')
    await page.getByRole('dialog').waitFor({ state: 'detached' })
    expect(await focused(page)).toBe('Settings of this chat')
    await tabTo(page, 'Message')
    await page.keyboard.type(STORY)
    await tabTo(page, 'Send')
    await page.keyboard.press('Enter')
    await tabTo(page, 'Stop')
    await page.keyboard.press('Enter')
    await answers(page).getByText('Stopped').waitFor()
    await page.keyboard.press('Control+j')
    expect(await focused(page)).toBe('Message')
    await page.keyboard.type('Again!')
    await page.keyboard.press('Enter')
    await stopButton(page).waitFor()
    await page.keyboard.press('Escape')
    await answers(page).last().getByText('Stopped').waitFor()
    await tabTo(page, 'Swarm')
    await page.keyboard.press('Enter')
    await page.getByRole('heading', { name: 'Swarm health' }).waitFor()
    expect(await page.evaluate(() => document.activeElement?.id)).toBe('main')
    await context.close()
  })

  test.each([
    ['reduce', false],
    ['no-preference', true]
  ] as const)('with motion as the person has it: %s', async (reducedMotion, isMoving) => {
    const { page, context } = await visit(browser, place.url, { reducedMotion })
    await openChat(page)
    await setLength(page, 400)
    await say(page, STORY)
    await stopButton(page).waitFor()
    await eventually(async () => expect((await answers(page).textContent())?.length).toBeGreaterThan(60))
    const moving = await page.evaluate(
      (shortest) =>
        document.getAnimations().filter(({ playState, effect }) => {
          const { endTime } = effect?.getComputedTiming() ?? {}
          return playState === 'running' && Number(endTime) > shortest
        }).length,
      SHORTEST_SEEN_MS
    )
    expect(await stopButton(page).isVisible()).toBe(true)
    expect(moving > 0).toBe(isMoving)
    await composer(page).press('Escape')
    await context.close()
  })
})

/** What has the focus is called so. */
function focused(page: Page): Promise<string> {
  return page.evaluate(() => {
    const element = document.activeElement as HTMLInputElement | null
    return (element?.ariaLabel ?? element?.labels?.[0]?.textContent ?? element?.textContent ?? '').trim()
  })
}

async function tabTo(page: Page, name: string): Promise<void> {
  const passed: string[] = []
  while (passed.length < STOPS) {
    const here = await focused(page)
    if (here === name) return
    passed.push(here)
    await page.keyboard.press('Tab')
  }
  throw new Error(`no way to "${name}" by the Tab key, past ${passed.join(', ')}`)
}
