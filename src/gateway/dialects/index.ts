/**
 * The languages that programs speak, each a few routes over one internal request.
 *
 * @example
 * ```ts
 * app.route('/', dialects({ answers, clock }, {}))
 * ```
 */
import { Hono } from 'hono'
import type { GatewayEnv } from '../env.ts'
import { GatewayError } from '../errors.ts'
import { openapiDocument } from '../openapi.ts'
import { chatCompletions } from './chat-completions.ts'
import { completions } from './completions.ts'
import { errorResponse } from './failures.ts'
import { addCountTokens, messages } from './messages.ts'
import { addModels } from './models.ts'
import { responses } from './responses.ts'
import { addDialect, type DialectComponents, type DialectInit } from './route.ts'

export { errorResponse } from './failures.ts'
export type { DialectComponents, DialectInit } from './route.ts'

/** All routes below `/v1`, and `/openapi.json`, to be mounted behind whatever sets GatewayEnv's variables. */
export function dialects(components: DialectComponents, init: DialectInit): Hono<GatewayEnv> {
  const app = new Hono<GatewayEnv>()
  addDialect(app, components, init, chatCompletions)
  addDialect(app, components, init, completions)
  addDialect(app, components, init, responses)
  addDialect(app, components, init, messages)
  addCountTokens(app, components)
  addModels(app, components)
  app.get('/openapi.json', (c) => c.json(openapiDocument()))
  app.post('/v1/embeddings', (c) => {
    const message = 'embeddings are not computed here: Shoal runs models that write'
    return errorResponse(c, new GatewayError('NOT_SUPPORTED', message))
  })
  return app
}
