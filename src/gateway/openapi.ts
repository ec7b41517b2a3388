/** `/openapi.json`: the document is made of the schemas that parse requests, so that it can't say anything else. */
import { z } from 'zod'
import { VERSION } from '../common/index.ts'
import { chatRequest } from './dialects/chat-request.ts'
import { completionRequest } from './dialects/completions.ts'
import { countRequest, messagesRequest } from './dialects/messages-request.ts'
import {
  anthropicErrorReply,
  chatChunk,
  chatCompletion,
  completion,
  countReply,
  errorReply,
  messageReply,
  modelList,
  modelReply,
  responseReply
} from './dialects/replies.ts'
import { responsesRequest } from './dialects/responses-request.ts'

const healthReply = z.looseObject({ status: z.string() })
const swarmReply = z.looseObject({})
const anyEvent = z.looseObject({ type: z.string() })

/** Each is shown once, under its name. */
const NAMED: readonly (readonly [name: string, schema: z.ZodType])[] = [
  ['ChatCompletionRequest', chatRequest],
  ['ChatCompletion', chatCompletion],
  ['ChatCompletionChunk', chatChunk],
  ['CompletionRequest', completionRequest],
  ['Completion', completion],
  ['ResponsesRequest', responsesRequest],
  ['Response', responseReply],
  ['MessagesRequest', messagesRequest],
  ['Message', messageReply],
  ['CountTokensRequest', countRequest],
  ['TokenCount', countReply],
  ['NamedEvent', anyEvent],
  ['ModelList', modelList],
  ['Model', modelReply],
  ['Health', healthReply],
  ['Swarm', swarmReply],
  ['Error', errorReply],
  ['AnthropicError', anthropicErrorReply]
]
const shown = z.registry<{ id: string }>()
for (const [id, schema] of NAMED) shown.add(schema, { id })

const toUri = (id: string): string => `#/components/schemas/${id}`

/** Their ids are for whoever has them one by one: here, the path is. */
function schemas(): Json {
  const made = z.toJSONSchema(shown, { uri: toUri, io: 'input', unrepresentable: 'any' }).schemas
  return Object.fromEntries(Object.entries(made).map(([id, { $schema, $id, ...schema }]) => [id, schema]))
}

function reference(schema: z.ZodType): Json {
  return { $ref: toUri(shown.get(schema)?.id ?? '') }
}

type Json = Readonly<Record<string, unknown>>

interface Post {
  readonly path: string
  readonly summary: string
  readonly request: z.ZodType
  readonly reply: z.ZodType
  /** Of each event of a stream; undefined: it does not stream. */
  readonly event?: z.ZodType
  readonly error: z.ZodType
}

const POSTS: readonly Post[] = [
  {
    path: '/v1/chat/completions',
    summary: 'The next message of a conversation (OpenAI)',
    request: chatRequest,
    reply: chatCompletion,
    event: chatChunk,
    error: errorReply
  },
  {
    path: '/v1/completions',
    summary: 'How a text goes on (OpenAI)',
    request: completionRequest,
    reply: completion,
    event: completion,
    error: errorReply
  },
  {
    path: '/v1/responses',
    summary: 'The next items of a conversation (OpenAI); nothing is stored',
    request: responsesRequest,
    reply: responseReply,
    event: anyEvent,
    error: errorReply
  },
  {
    path: '/v1/messages',
    summary: 'The next message of a conversation (Anthropic)',
    request: messagesRequest,
    reply: messageReply,
    event: anyEvent,
    error: anthropicErrorReply
  },
  {
    path: '/v1/messages/count_tokens',
    summary: 'Tokens that a prompt would have (Anthropic)',
    request: countRequest,
    reply: countReply,
    error: anthropicErrorReply
  }
]

/** An OpenAPI 3.1 document of all routes. */
export function openapiDocument(): Json {
  const failed = (error: z.ZodType): Json => ({
    description: 'Refused or failed; 429 and 503 say when to try again in `Retry-After`',
    content: json(reference(error))
  })
  const get = (summary: string, content: Json, parameters: readonly Json[] = []): Json => ({
    get: {
      summary,
      parameters,
      responses: { 200: { description: 'OK', content }, default: failed(errorReply) }
    }
  })
  const post = ({ summary, request, reply, event, error }: Post): Json => ({
    post: {
      summary,
      parameters: [DETAILS],
      requestBody: { required: true, content: json(reference(request)) },
      responses: {
        200: {
          description:
            event === undefined ? 'OK' : 'The answer; with `stream: true`, events whose data are these',
          content: { ...json(reference(reply)), ...(event && streamed(reference(event))) }
        },
        default: failed(error)
      }
    }
  })
  const refused = { post: { summary: 'Refused: not computed here', responses: { 501: failed(errorReply) } } }
  const paths = {
    ...Object.fromEntries(POSTS.map((each) => [each.path, post(each)])),
    '/v1/embeddings': refused,
    '/v1/models': get('Models that can be asked for', json(reference(modelList)), [DETAILS]),
    '/v1/models/{id}': get('A model, by name, alias or id', json(reference(modelReply)), [MODEL, DETAILS]),
    '/health': get('Whether it answers', json(reference(healthReply))),
    '/metrics': get('Metrics for Prometheus', { 'text/plain': { schema: { type: 'string' } } }),
    '/api/swarm': get('What this node knows of the swarm; events with `accept: text/event-stream`', {
      ...json(reference(swarmReply)),
      ...streamed(reference(swarmReply))
    }),
    '/openapi.json': get('This document', json({ type: 'object' }))
  }
  return {
    openapi: '3.1.0',
    info: { title: 'Shoal', version: VERSION, license: { name: 'MIT', identifier: 'MIT' } },
    security: [{}, { bearer: [] }, { key: [] }],
    paths,
    components: {
      schemas: schemas(),
      securitySchemes: {
        bearer: { type: 'http', scheme: 'bearer' },
        key: { type: 'apiKey', in: 'header', name: 'x-api-key' }
      }
    }
  }
}

const DETAILS: Json = {
  name: 'x-shoal-details',
  in: 'header',
  description: '`1`: replies have a field `shoal`, and streams tell of the chain in comments',
  schema: { enum: ['1'] }
}
const MODEL: Json = { name: 'id', in: 'path', required: true, schema: { type: 'string' } }

function json(schema: Json): Json {
  return { 'application/json': { schema } }
}

function streamed(schema: Json): Json {
  return { 'text/event-stream': { schema } }
}
