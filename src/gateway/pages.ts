/** The pages: what `npm ci` built in `web/dist`, read once. */
import { existsSync, globSync, readFileSync } from 'node:fs'
import { extname, join, sep } from 'node:path'
import { fileURLToPath } from 'node:url'
import { type Context, Hono } from 'hono'
import { frontPage } from './about.ts'
import type { GatewayEnv } from './env.ts'

const BUILT = fileURLToPath(new URL('../../web/dist', import.meta.url))
const TYPES: Readonly<Record<string, string>> = {
  '.html': 'text/html; charset=utf-8',
  '.js': 'text/javascript; charset=utf-8',
  '.css': 'text/css; charset=utf-8',
  '.json': 'application/json',
  '.svg': 'image/svg+xml',
  '.png': 'image/png',
  '.woff2': 'font/woff2'
}
/** As the build names them, the best first. */
const ENCODINGS = { br: '.br', gzip: '.gz' } as const
/**
 * Nothing runs but what was built, and nothing is loaded or sent elsewhere: what a model writes may be hostile, and an
 * image's address alone could carry a conversation away.
 */
const POLICY = [
  "default-src 'none'",
  ...["script-src 'self'", "style-src 'self'", "font-src 'self'", "img-src 'self' data:"],
  ...["connect-src 'self'", "frame-ancestors 'none'", "base-uri 'none'", "form-action 'none'"]
].join('; ')
const HEADERS = {
  'content-security-policy': POLICY,
  'cross-origin-opener-policy': 'same-origin',
  'cross-origin-resource-policy': 'same-origin',
  'permissions-policy': 'camera=(), geolocation=(), microphone=(), payment=(), usb=()',
  'referrer-policy': 'no-referrer',
  'x-content-type-options': 'nosniff',
  'x-frame-options': 'DENY'
}
/** The build's names have the content's hash: a year, and never asked for again. */
const HASHED = 'public, max-age=31536000, immutable'

const NOT_BUILT = '\nThere are no pages here: they have not been built. "npm run web" builds them.\n'

type Encoding = keyof typeof ENCODINGS

interface Page {
  readonly type: string
  readonly caching: string
  readonly plain: Uint8Array<ArrayBuffer>
  readonly encoded: ReadonlyMap<Encoding, Uint8Array<ArrayBuffer>>
}

/** To be mounted last: what is no file, and has no dot, is a page's address. */
export function pages(folder: string = BUILT): Hono<GatewayEnv> {
  const app = new Hono<GatewayEnv>()
  const files = filesIn(folder)
  const index = files.get('/index.html')
  if (index === undefined) return app.get('/', (c) => frontPage(c, NOT_BUILT))
  // Of no method: else a path that is nowhere would be taken for one that takes GET only.
  app.use('*', async (c, next) => {
    const { path, method } = c.req
    const page = files.get(path) ?? (isPage(path) ? index : undefined)
    return page !== undefined && (method === 'GET' || method === 'HEAD') ? send(c, page) : next()
  })
  return app
}

/** Programs that look for what is not there are to hear that, and not to get a page. */
function isPage(path: string): boolean {
  return !path.includes('.') && !/^\/(v1|api)(\/|$)/.test(path)
}

function filesIn(folder: string): Map<string, Page> {
  const names = globSync('**/*', { cwd: folder }).filter((name) => TYPES[extname(name)] !== undefined)
  return new Map(
    names.map((name) => {
      const path = `/${name.split(sep).join('/')}`
      const encoded = Object.entries(ENCODINGS).flatMap(([encoding, ending]) => {
        const file = join(folder, name + ending)
        return existsSync(file) ? [[encoding as Encoding, new Uint8Array(readFileSync(file))] as const] : []
      })
      const page = {
        type: TYPES[extname(name)] as string,
        caching: path.startsWith('/assets/') ? HASHED : 'no-cache',
        plain: new Uint8Array(readFileSync(join(folder, name))),
        encoded: new Map(encoded)
      }
      return [path, page]
    })
  )
}

function send(c: Context<GatewayEnv>, { type, caching, plain, encoded }: Page): Response {
  const accepted = c.req.header('accept-encoding') ?? ''
  const encoding = [...encoded.keys()].find((each) => accepts(accepted, each))
  const bytes = encoding === undefined ? plain : encoded.get(encoding)
  return c.body(bytes as Uint8Array<ArrayBuffer>, 200, {
    ...HEADERS,
    ...{ 'content-type': type, 'cache-control': caching, vary: 'accept-encoding' },
    ...(encoding !== undefined && { 'content-encoding': encoding })
  })
}

/** `gzip, br;q=0.8`; what has `q=0` is refused. */
function accepts(header: string, encoding: Encoding): boolean {
  return header.split(',').some((each) => {
    const [name = '', ...parameters] = each.split(';').map((part) => part.trim())
    return name.toLowerCase() === encoding && !parameters.some((parameter) => /^q=0(\.0*)?$/i.test(parameter))
  })
}
