/** `/v1/models`, as OpenAI and (with the header `anthropic-version`) Anthropic list them. */
import type { Context, Hono } from 'hono'
import type { ModelCard } from '../../chat/index.ts'
import type { GatewayEnv } from '../env.ts'
import { speaksAnthropic } from './failures.ts'
import { type DialectComponents, guarded, hasDetails } from './route.ts'

export function addModels(app: Hono<GatewayEnv>, components: DialectComponents): void {
  const { answers } = components
  const list = async (c: Context<GatewayEnv>): Promise<Response> => {
    const cards = await answers.models()
    // Who picks from a list expects an answer; who looks closer sees what is missing.
    const shown = hasDetails(c) ? cards : cards.filter((card) => card.isCovered)
    const data = shown.map((card) => render(c, card))
    if (!speaksAnthropic(c)) return c.json({ object: 'list', data })
    const ends = { first_id: shown[0]?.name ?? null, last_id: shown.at(-1)?.name ?? null }
    return c.json({ data, has_more: false, ...ends })
  }
  const one = async (c: Context<GatewayEnv>): Promise<Response> =>
    c.json(render(c, await answers.model(c.req.param('id') ?? '')))
  app.get('/v1/models', guarded(components, list))
  // Names have slashes, and many clients don't escape them.
  app.get('/v1/models/:id{.+}', guarded(components, one))
}

/** Nobody knows when a model was made. */
const NO_DATE = new Date(0)

function render(c: Context<GatewayEnv>, card: ModelCard) {
  const shoal = hasDetails(c) && { shoal: card }
  if (speaksAnthropic(c)) {
    return {
      type: 'model',
      id: card.name,
      display_name: card.name,
      created_at: NO_DATE.toISOString(),
      ...shoal
    }
  }
  return { id: card.name, object: 'model', created: 0, owned_by: 'shoal', ...shoal }
}
