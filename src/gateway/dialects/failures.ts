/** Errors as each dialect says them. */
import type { Context } from 'hono'
import type { ContentfulStatusCode } from 'hono/utils/http-status'
import type { GatewayEnv } from '../env.ts'
import type { GatewayError } from '../errors.ts'

export function openaiError({ message, kind, data }: GatewayError): unknown {
  return { error: { message, type: kind.type, param: data.param ?? null, code: kind.code } }
}

export function anthropicError({ message, kind }: GatewayError, requestId: string): unknown {
  return { type: 'error', error: { type: kind.anthropic, message }, request_id: requestId }
}

/** OpenAI's name for it, and Anthropic's. */
export function requestHeaders(requestId: string): Record<string, string> {
  return { 'x-request-id': requestId, 'request-id': requestId }
}

/** In the form of the dialect that the path belongs to, OpenAI's where it belongs to none. */
export function errorResponse(c: Context<GatewayEnv>, error: GatewayError): Response {
  const isAnthropic = speaksAnthropic(c) || /^\/v1\/messages(\/|$)/.test(c.req.path)
  const { kind, data } = error
  const requestId = c.get('requestId')
  const status = (isAnthropic && kind.anthropicStatus) || kind.status
  const headers = requestHeaders(requestId)
  if (data.retryAfterSeconds !== undefined) headers['retry-after'] = String(data.retryAfterSeconds)
  // Clients try everything from 500 on again, unless they are told not to.
  if (error.code === 'NOT_SUPPORTED') headers['x-should-retry'] = 'false'
  const body = isAnthropic ? anthropicError(error, requestId) : openaiError(error)
  return c.json(body, status as ContentfulStatusCode, headers)
}

/** On paths that both have, such as `/v1/models`, this header tells. */
export function speaksAnthropic(c: Context<GatewayEnv>): boolean {
  return c.req.header('anthropic-version') !== undefined
}
