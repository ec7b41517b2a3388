/** The system's Chromium, which dials nothing but loopback. */
import { existsSync } from 'node:fs'
import {
  type Browser,
  type BrowserContext,
  type BrowserContextOptions,
  chromium,
  type Page
} from 'playwright-core'
import { describe } from 'vitest'

/** Where Debian, Arch and Fedora have it. */
const PLACES = ['/usr/bin/chromium', '/usr/bin/chromium-browser', '/usr/bin/google-chrome']
const executablePath = [process.env.CHROMIUM ?? '', ...PLACES].find((path) => path !== '' && existsSync(path))

if (executablePath === undefined)
  console.warn('skipped: there is no Chromium on this machine (CHROMIUM names one)')

/** Suites that take a browser. */
export const inBrowser = describe.skipIf(executablePath === undefined)

const ARGS = ['--no-sandbox', '--disable-gpu', '--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1']

export function launch(): Promise<Browser> {
  return chromium.launch({ executablePath: executablePath as string, args: ARGS })
}

/** The widest and the narrowest that the pages are made for. */
export const WIDE = { width: 1280, height: 800 }
export const NARROW = { width: 360, height: 740 }

/** Nothing that a test waits for in a page takes as long on an idle machine, in milliseconds. */
const PATIENCE = 15_000

export interface Visit {
  readonly context: BrowserContext
  readonly page: Page
  /** What went wrong in the page and nobody caught, and what its policy refused. */
  readonly errors: readonly string[]
}

/** A person with a browser of their own, who was asked whether to share, unless `isNew`. */
export async function visit(
  browser: Browser,
  url: string,
  { isNew = false, ...options }: BrowserContextOptions & { readonly isNew?: boolean } = {}
): Promise<Visit> {
  const context = await browser.newContext({ viewport: WIDE, baseURL: url, ...options })
  context.setDefaultTimeout(PATIENCE)
  if (!isNew) await context.addInitScript(() => localStorage.setItem('shoal.asked', '1'))
  const page = await context.newPage()
  const errors: string[] = []
  page.on('pageerror', (error) => errors.push(String(error)))
  page.on('console', (message) => {
    if (message.type() === 'error') errors.push(message.text())
  })
  return { context, page, errors }
}
