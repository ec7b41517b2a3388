// What a model writes is a stranger's: it runs nothing, asks nobody, and leads nowhere unseen.
import { once } from 'node:events'
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import type { Browser, Page } from 'playwright-core'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { inBrowser, launch, visit } from './browser.ts'
import { answered, answers, openChat, say } from './chat-page.ts'
import { importAndOpen } from './history.ts'
import { Place } from './place.ts'

/** Each way would ask the beacon, open a dialog or set a global. */
function hostile(beacon: string): string {
  const js = `fetch('${beacon}/js');window.pwned=1;alert(1)`
  return [
    `<script>${js}</script>`,
    `<script src="${beacon}/script.js"></script>`,
    `<img src="${beacon}/img" onerror="${js}">`,
    `<img src=x onerror=${js}>`,
    `![picture](${beacon}/markdown)`,
    `![by name][ref]\n\n[ref]: ${beacon}/reference`,
    `[run](javascript:${js.replaceAll('(', '%28').replaceAll(')', '%29')})`,
    `[case](JaVaScRiPt:alert%281%29) [tab](java&#9;script:alert%281%29) [vb](vbscript:msgbox)`,
    `[data](data:text/html;base64,PHNjcmlwdD5hbGVydCgxKTwvc2NyaXB0Pg==) [file](file:///etc/passwd)`,
    `[relative](/api/node) [blob](blob:${beacon}/1) <javascript:alert(1)>`,
    `<iframe src="${beacon}/frame" srcdoc="<script>parent.pwned=1</script>"></iframe>`,
    `<svg onload="${js}"><use href="${beacon}/use#a"/><script>${js}</script></svg>`,
    `<style>@import url(${beacon}/css); * { background: url(${beacon}/background) }</style>`,
    `<div style="background:url(${beacon}/style)" onclick="${js}">div</div>`,
    `<link rel="stylesheet" href="${beacon}/link"><link rel="prefetch" href="${beacon}/prefetch">`,
    `<base href="${beacon}/"><meta http-equiv="refresh" content="0;url=${beacon}/refresh">`,
    `<video src="${beacon}/video" autoplay></video><object data="${beacon}/object"></object><embed src="${beacon}/embed">`,
    `<form action="${beacon}/form"><input autofocus onfocus="${js}"><button>go</button></form>`,
    `<details open ontoggle="${js}"><summary>open</summary></details>`,
    `$\\href{javascript:alert(1)}{x}$ $$\\includegraphics{${beacon}/latex}$$ $\\url{javascript:alert(1)}$`,
    `\`\`\`html\n<img src="${beacon}/code" onerror="${js}">\n\`\`\``,
    `\`\`\`mermaid\ngraph TD; A-->B; click A "javascript:alert(1)"\n\`\`\``,
    `| a | b |\n| - | - |\n| <img src="${beacon}/cell"> | ![c](${beacon}/cell2) |`,
    `[innocent.example](${beacon}/lure) ${beacon}/bare <${beacon}/auto> [mail](mailto:a@b.example?body=x)`,
    'The end.'
  ].join('\n\n')
}

inBrowser('hostile output', () => {
  let place: Place
  let browser: Browser
  let beacon: Server
  let text: string
  const asked: string[] = []

  beforeAll(async () => {
    ;[place, browser] = await Promise.all([Place.start(), launch()])
    beacon = createServer(({ url = '' }, response) => {
      asked.push(url)
      response.end()
    })
    await once(beacon.listen(0, '127.0.0.1'), 'listening')
    text = hostile(`http://127.0.0.1:${(beacon.address() as AddressInfo).port}`)
  })

  afterAll(async () => {
    await browser?.close()
    beacon?.close()
    await place?.stop()
  })

  test('the policy allows no scripts but the pages’ own', async () => {
    for (const path of ['/', '/swarm', '/node', '/start']) {
      const policy = (await fetch(place.url + path)).headers.get('content-security-policy') ?? ''
      expect(policy).toContain("default-src 'none'")
      expect(policy).toContain("script-src 'self';")
      expect(policy).not.toMatch(/unsafe-(inline|eval)/)
    }
  })

  /** Resolves when the text is drawn as Markdown; throws where something of it was more than text. */
  async function isHarmless(page: Page): Promise<void> {
    const answer = answers(page).last()
    await answer.locator('.markdown').getByText('The end.').waitFor()
    await page.waitForLoadState('networkidle')
    expect(asked).toEqual([])
    expect(await page.evaluate(() => 'pwned' in globalThis)).toBe(false)
    const tags = 'script,img,iframe,object,embed,video,audio,style,link,base,meta,form,[style*="url"]'
    expect(await answer.locator(tags).count()).toBe(0)
    const handlers = await answer.evaluate((element) =>
      [...element.querySelectorAll('*')].flatMap((each) =>
        each.getAttributeNames().filter((name) => /^on/.test(name))
      )
    )
    expect(handlers).toEqual([])
    const links = await answer
      .getByRole('link')
      .evaluateAll((all) =>
        all.map((link) => ({ to: (link as HTMLAnchorElement).href, rel: (link as HTMLAnchorElement).rel }))
      )
    expect(links.length).toBeGreaterThan(4)
    for (const { to, rel } of links) {
      expect(to).toMatch(/^(https?:\/\/127\.0\.0\.1:\d+\/|mailto:)/)
      expect(to.startsWith(place.url)).toBe(false)
      expect(rel).toContain('noopener')
      expect(rel).toContain('noreferrer')
    }
    const lure = answer.getByRole('link', { name: /innocent\.example/ })
    expect(await lure.textContent()).toContain('127.0.0.1')
  }

  test('that was imported is only text', async () => {
    const { page, context, errors } = await visit(browser, place.url)
    page.on('dialog', () => asked.push('a dialog'))
    await openChat(page)
    const attachments = [{ name: '<img src=x onerror=alert(1)>', text }]
    const said = [
      { role: 'user', text, attachments } as const,
      { role: 'assistant', text, reasoning: text } as const
    ]
    await importAndOpen(page, '<img src=x onerror=alert(1)>', said, 'demo<script>alert(1)</script>')
    await isHarmless(page)
    expect(errors).toEqual([]) // the policy had nothing to refuse
    await context.close()
  })

  test('that streams is only text', async () => {
    const { page, context, errors } = await visit(browser, place.url)
    page.on('dialog', () => asked.push('a dialog'))
    await page.route('**/v1/chat/completions', (route) =>
      route.fulfill({ contentType: 'text/event-stream', body: streamOf(text) })
    )
    await openChat(page)
    await say(page, 'Hello')
    await answered(page)
    await isHarmless(page)
    expect(errors).toEqual([])
    await context.close()
  })
})

/** As the gateway says it, in pieces of a few letters. */
function streamOf(text: string): string {
  const pieces = text.match(/.{1,7}/gs) ?? []
  const chunk = (delta: object, finish_reason: string | null): string =>
    `data: ${JSON.stringify({ object: 'chat.completion.chunk', id: 'x', created: 1, model: 'demo', choices: [{ index: 0, delta, finish_reason }] })}\n\n`
  return `${pieces.map((content) => chunk({ content }, null)).join('')}${chunk({}, 'stop')}data: [DONE]\n\n`
}
