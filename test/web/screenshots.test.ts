// `SCREENSHOTS=1 npm run test:web`: what docs/PAGES.md shows.
import { mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import type { Browser } from 'playwright-core'
import { afterAll, beforeAll, describe, test } from 'vitest'
import { inBrowser, launch, NARROW, visit, WIDE } from './browser.ts'
import { answered, openChat, STORY, say, setLength } from './chat-page.ts'
import { Place, SPANS } from './place.ts'

const FOLDER = join(import.meta.dirname, '../../docs/screenshots')

describe.runIf(process.env.SCREENSHOTS === '1')('for the documents', () => {
  inBrowser('screenshots', () => {
    let place: Place
    let browser: Browser

    beforeAll(async () => {
      await mkdir(FOLDER, { recursive: true })
      ;[place, browser] = await Promise.all([Place.start([...SPANS, '0-3']), launch()])
    })

    afterAll(async () => {
      await browser?.close()
      await place?.stop()
    })

    test.each([
      ['light', WIDE, 'light'],
      ['dark', WIDE, 'dark'],
      ['narrow', NARROW, 'light']
    ] as const)('%s', async (name, viewport, colorScheme) => {
      const { page, context } = await visit(browser, place.url, {
        viewport,
        colorScheme,
        reducedMotion: 'reduce'
      })
      const shoot = (what: string): Promise<Buffer> =>
        page.screenshot({ path: join(FOLDER, `${what}-${name}.png`), caret: 'hide' })
      await openChat(page)
      await setLength(page, 160)
      await say(page, STORY)
      await answered(page)
      if (name !== 'narrow') {
        await page.getByRole('button', { name: '3 nodes' }).click()
        await page.getByText('computed').first().waitFor()
      }
      await shoot('chat')
      if (name === 'narrow') {
        await context.close()
        return
      }
      await page.goto('/start')
      await page.getByRole('button', { name: 'Just chat' }).waitFor()
      await shoot('start')
      await page.goto('/node')
      const sharing = page.getByRole('switch', { name: 'Share this machine' })
      if ((await sharing.getAttribute('aria-checked')) === 'false') await sharing.click()
      await page.getByText(/^Hosting blocks/).waitFor()
      await page.getByRole('tabpanel').getByText('On', { exact: true }).waitFor()
      await shoot('node')
      await page.goto('/swarm')
      await page.getByRole('heading', { name: 'Shoal demo' }).waitFor()
      await shoot('swarm')
      await context.close()
    })
  })
})
