import { createElement } from 'react'
import { renderToStaticMarkup } from 'react-dom/server'
import { describe, expect, test } from 'vitest'
import Markdown from './markdown.tsx'

const html = (text: string, isGrowing = false): string =>
  renderToStaticMarkup(createElement(Markdown, { text, isGrowing }))
const attributes = (text: string, name: string): string[] =>
  Array.from(html(text).matchAll(new RegExp(` ${name}="([^"]*)"`, 'g')), ([, value]) => value ?? '')
/** Names of all elements that are drawn. */
const elements = (text: string): Set<string> =>
  new Set(Array.from(html(text).matchAll(/<([a-zA-Z][\w-]*)/g), ([, name]) => (name ?? '').toLowerCase()))

describe('a model’s text', () => {
  test.each([
    '<script>alert(1)</script>',
    '<img src=x onerror=alert(1)>',
    '<iframe src="https://evil.example"></iframe>',
    '<svg onload=alert(1)><style>*{background:url(https://evil.example)}</style></svg>',
    '<form action="https://evil.example"><input name=a><button>go</button></form>',
    '<a href="javascript:alert(1)">x</a>',
    '<style>@import "https://evil.example"</style>\n\n<link rel=stylesheet href=//evil.example>',
    '<math><mtext><img src=x onerror=alert(1)></mtext></math>',
    '```html\n<script>alert(1)</script>\n```',
    '$<script>alert(1)</script>$ and $\\text{<img src=x onerror=alert(1)>}$',
    '![x](https://evil.example/beacon.png?secret)',
    '<details open ontoggle=alert(1)>'
  ])('runs nothing and asks nobody: %s', (text) => {
    const dangerous =
      'script img iframe svg style form link object embed details meta base video audio'.split(' ')
    const drawn = elements(text)
    // The page's own copy button has an icon.
    const own = text.startsWith('```') ? ['svg'] : []
    expect(dangerous.filter((name) => drawn.has(name) && !own.includes(name))).toEqual([])
    expect(html(text)).not.toMatch(/<[^>]* (on\w+|src|srcset|style|action|formaction)=/i)
  })

  test.each([
    '[x](javascript:alert(1))',
    '[x](JaVaScRiPt:alert(1))',
    '[x](java&#10;script:alert(1))',
    '[x](&#x6A;avascript:alert(1))',
    '[x](data:text/html,<script>alert(1)</script>)',
    '[x](vbscript:x)',
    '[x](file:///etc/passwd)',
    '[x](blob:https://evil.example/1)',
    '[x](/v1/models)',
    '[x](//evil.example)',
    '[x](#main)',
    '<javascript:alert(1)>',
    '![x](javascript:alert(1))',
    '[x][1]\n\n[1]: javascript:alert(1)'
  ])('leads nowhere: %s', (text) => {
    expect(attributes(text, 'href')).toEqual([])
  })

  test('links say where they lead, and tell nobody where from', () => {
    const text = '[https://bank.example](https://evil.example/a)'
    expect(attributes(text, 'href')).toEqual(['https://evil.example/a'])
    expect(attributes(text, 'rel')).toEqual(['noopener noreferrer nofollow'])
    expect(attributes(text, 'target')).toEqual(['_blank'])
    expect(html(text)).toContain('(evil.example)')
    expect(html('https://shoal.example/a')).not.toContain('(shoal.example)')
    expect(html('[b](https://\u0430pple.com)')).toContain('(xn--pple-43d.com)')
  })

  test('a picture is a link to it', () => {
    expect(html('![cat](https://evil.example/c.png)')).toContain('Picture: cat')
    expect(html('![cat](https://evil.example/c.png)')).toContain('(evil.example)')
  })

  test('is Markdown otherwise', () => {
    const drawn = elements(
      '# a\n\n- b\n- **c**\n\n| d | e |\n|---|---|\n| f | `g` |\n\n```ts\nconst h = 1\n```\n\n$i^2$'
    )
    for (const name of ['h3', 'li', 'strong', 'table', 'code', 'pre', 'math', 'msup'])
      expect(drawn).toContain(name)
  })

  test('half of it is drawn as if it were whole', () => {
    expect(html('this is **bol', true)).toContain('<strong>bol</strong>')
    expect(html('[x](https://evil.exam', true)).not.toContain('href="https://evil.exam')
  })
})
