/** What the gateway says of itself: `/health`, `/metrics`, `/api/swarm` and, where there are no pages, `/`. */
import type { Context, Hono } from 'hono'
import { VERSION } from '../common/index.ts'
import type { GatewayEnv } from './env.ts'
import { GatewayError } from './errors.ts'
import { type Feed, wantsEvents } from './feed.ts'
import type { Metrics } from './metrics.ts'
import type { SwarmView } from './swarm-view.ts'

export interface AboutComponents {
  readonly view: SwarmView
  readonly feed: Feed
  /** The swarm, as JSON. */
  readonly swarm: () => Promise<string>
  readonly metrics: Metrics
  readonly mayReadMetrics: (c: Context<GatewayEnv>) => boolean
}

export function addAbout(
  app: Hono<GatewayEnv>,
  { view, feed, swarm, metrics, mayReadMetrics }: AboutComponents
): void {
  app.get('/health', (c) => {
    const reason = view.notReady()
    if (reason === undefined) return c.json({ status: 'ready', version: VERSION })
    return c.json({ status: 'not ready', reason, version: VERSION }, 503, { 'retry-after': '5' })
  })
  app.get('/metrics', async (c) => {
    if (!mayReadMetrics(c)) {
      throw new GatewayError('KEY', 'metrics take a key here: send one in the header "authorization"')
    }
    return c.text(await metrics.registry.metrics(), 200, { 'content-type': metrics.registry.contentType })
  })
  app.get('/api/swarm', async (c) => {
    if (wantsEvents(c)) return feed.stream(c)
    return c.body(await swarm(), 200, { 'content-type': 'application/json' })
  })
}

export function frontPage(c: Context<GatewayEnv>, note = ''): Response {
  const { origin } = new URL(c.req.url)
  return c.text(`Shoal ${VERSION}: open-weight language models that people run together.

Programs that speak to OpenAI:     base URL ${origin}/v1
Programs that speak to Anthropic:  base URL ${origin}
What there is: /v1/models, /api/swarm, /health
${note}`)
}
