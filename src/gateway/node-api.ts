/**
 * `/api/node`: a person's own node, over HTTP. Whoever reaches it may do what the person may, so it is for the pages of
 * this gateway alone: no other page can read it or change anything, wherever it comes from.
 */
import { type Context, Hono, type MiddlewareHandler } from 'hono'
import type { z } from 'zod'
import { ShoalError } from '../common/index.ts'
import { parseBody } from './dialects/body.ts'
import type { GatewayEnv } from './env.ts'
import { GatewayError } from './errors.ts'
import { type Feed, wantsEvents } from './feed.ts'
import {
  emptyRequest,
  inviteRequest,
  joinRequest,
  modelRequest,
  type NodeControl,
  pullRequest,
  settingsRequest,
  shareRequest
} from './node-control.ts'

export interface NodeApiComponents {
  readonly control: NodeControl
  /** Of its reports, as events `node`. */
  readonly feed: Feed
}

const LINES = 200
const MOST_LINES = 5_000
/** Pages of other origins can't send it without being asked by the browser, and are refused then. */
const PAGE_HEADER = 'x-shoal-page'

export function nodeApi({ control, feed }: NodeApiComponents): Hono<GatewayEnv> {
  const app = new Hono<GatewayEnv>()
  app.use('*', ownPagesOnly)
  app.get('/', async (c) => (wantsEvents(c) ? feed.stream(c) : c.json(await control.report())))
  app.get('/models', async (c) => {
    const { models, pulls } = await control.report()
    return c.json({ models, pulls })
  })
  app.get('/logs', async (c) => c.json(await control.logs(linesOf(c))))

  /** A change, answered with how the node is then. */
  const change = <T extends z.ZodType>(
    schema: T,
    act: (request: z.output<T>, c: Context<GatewayEnv>) => Promise<void>
  ) =>
    told(async (c) => {
      await act(await parseBody(c, schema), c)
      return c.json(await control.report())
    })
  app.post(
    '/share',
    change(shareRequest, (request) => control.share(request))
  )
  app.post(
    '/pause',
    change(emptyRequest, () => control.pause())
  )
  app.post(
    '/resume',
    change(emptyRequest, () => control.resume())
  )
  app.post(
    '/finish',
    change(emptyRequest, () => control.finish())
  )
  app.patch(
    '/settings',
    change(settingsRequest, (request) => control.change(request))
  )
  app.patch(
    '/models/:id',
    change(modelRequest, ({ seed }, c) => control.seed(idOf(c), seed))
  )
  app.delete(
    '/models/:id',
    told(async (c) => {
      await control.remove(idOf(c))
      return c.json(await control.report())
    })
  )
  app.post(
    '/models',
    told(async (c) => c.json(await control.pull(await parseBody(c, pullRequest)), 202))
  )
  app.post(
    '/invite',
    told(async (c) => c.json(await control.invite(await parseBody(c, inviteRequest))))
  )
  app.post(
    '/join',
    told(async (c) => c.json(await control.join(await parseBody(c, joinRequest), c.get('signal'))))
  )
  app.post(
    '/leave',
    told(async (c) => {
      await parseBody(c, emptyRequest)
      return c.json(await control.leave())
    })
  )
  return app
}

/** The gateway's guard lets pages of this machine's other servers, and those that were named, ask for answers. */
const ownPagesOnly: MiddlewareHandler<GatewayEnv> = async (c, next) => {
  const origin = c.req.header('origin')
  if (origin !== undefined && URL.parse(origin)?.host !== c.req.header('host')?.toLowerCase()) {
    throw new GatewayError('FORBIDDEN', 'only the pages of this gateway may ask for the node')
  }
  const isRead = c.req.method === 'GET' || c.req.method === 'HEAD'
  if (!isRead && c.req.header(PAGE_HEADER) !== '1') {
    throw new GatewayError('FORBIDDEN', `changes of the node need the header ${PAGE_HEADER}: 1`)
  }
  await next()
}

/** What the node refuses is the asker's to know. */
function told(handle: (c: Context<GatewayEnv>) => Promise<Response>) {
  return async (c: Context<GatewayEnv>): Promise<Response> => {
    try {
      return await handle(c)
    } catch (error) {
      if (!(error instanceof ShoalError) || error instanceof GatewayError) throw error
      const code = error.code === 'MODEL' || error.code === 'PULL' ? 'NOT_FOUND' : 'INPUT'
      throw new GatewayError(code, error.message, {}, { cause: error })
    }
  }
}

function idOf(c: Context<GatewayEnv>): string {
  return c.req.param('id') ?? ''
}

function linesOf(c: Context<GatewayEnv>): number {
  const lines = Number(c.req.query('lines') ?? LINES)
  if (Number.isInteger(lines) && lines > 0) return Math.min(lines, MOST_LINES)
  throw new GatewayError('INPUT', 'lines has to be a number from 1 on', { param: 'lines' })
}
