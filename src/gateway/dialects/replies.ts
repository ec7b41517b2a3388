/** What each dialect answers with, for the OpenAPI document and for tests. */
import { z } from 'zod'

const logprob = z.object({ token: z.string(), logprob: z.number(), bytes: z.array(z.int()) })
const logprobs = z.array(logprob.extend({ top_logprobs: z.array(logprob) }))
const chatLogprobs = z.object({ content: logprobs, refusal: z.null() }).nullable()

const hop = z.object({
  peer: z.string(),
  start: z.int(),
  end: z.int(),
  queueMs: z.number(),
  computeMs: z.number(),
  bytesOut: z.int()
})
const timing = ['templateMs', 'tokenizeMs', 'chainMs', 'firstTokenMs', 'decodeMs'] as const
const timings = z.record(z.enum(timing), z.number())
const shoal = z
  .array(z.object({ hops: z.array(hop), timings }))
  .optional()
  .describe('With the header `x-shoal-details: 1`: the chain of each answer, and where the time went')

const usage = z.object({
  prompt_tokens: z.int(),
  completion_tokens: z.int(),
  total_tokens: z.int(),
  prompt_tokens_details: z.object({ cached_tokens: z.int() }),
  completion_tokens_details: z.object({ reasoning_tokens: z.int() })
})
const head = { id: z.string(), created: z.int(), model: z.string(), system_fingerprint: z.string() }

const called = z.object({ name: z.string(), arguments: z.string() })
const toolCall = z.object({ id: z.string(), type: z.literal('function'), function: called })
const chatReason = z.enum(['stop', 'length', 'tool_calls'])

export const chatCompletion = z.strictObject({
  ...head,
  object: z.literal('chat.completion'),
  choices: z.array(
    z.strictObject({
      index: z.int(),
      message: z.strictObject({
        role: z.literal('assistant'),
        content: z.string().nullable(),
        refusal: z.null(),
        reasoning_content: z.string().optional(),
        tool_calls: z.array(toolCall).optional()
      }),
      logprobs: chatLogprobs,
      finish_reason: chatReason
    })
  ),
  usage,
  shoal
})

export const chatChunk = z.strictObject({
  ...head,
  object: z.literal('chat.completion.chunk'),
  choices: z.array(
    z.strictObject({
      index: z.int(),
      delta: z.strictObject({
        role: z.literal('assistant').optional(),
        content: z.string().optional(),
        refusal: z.null().optional(),
        reasoning_content: z.string().optional(),
        tool_calls: z
          .array(
            z.object({
              index: z.int(),
              id: z.string().optional(),
              type: z.literal('function').optional(),
              function: called.partial()
            })
          )
          .optional()
      }),
      logprobs: chatLogprobs,
      finish_reason: chatReason.nullable()
    })
  ),
  usage: usage.nullish(),
  shoal
})

export const completion = z.strictObject({
  ...head,
  object: z.literal('text_completion'),
  choices: z.array(
    z.strictObject({
      index: z.int(),
      text: z.string(),
      logprobs: z
        .strictObject({
          tokens: z.array(z.string()),
          token_logprobs: z.array(z.number()),
          top_logprobs: z.array(z.record(z.string(), z.number())),
          text_offset: z.array(z.int())
        })
        .nullable(),
      finish_reason: z.enum(['stop', 'length']).nullable()
    })
  ),
  usage: usage.nullish(),
  shoal
})

const model = z.looseObject({
  id: z.string(),
  object: z.literal('model'),
  created: z.int(),
  owned_by: z.string()
})
export const modelReply = model
export const modelList = z.object({ object: z.literal('list'), data: z.array(model) })

const status = z.enum(['in_progress', 'completed', 'incomplete', 'failed'])
const item = z.discriminatedUnion('type', [
  z.strictObject({
    id: z.string(),
    type: z.literal('message'),
    status,
    role: z.literal('assistant'),
    content: z.array(
      z.strictObject({
        type: z.literal('output_text'),
        text: z.string(),
        annotations: z.array(z.never()),
        logprobs
      })
    )
  }),
  z.strictObject({
    id: z.string(),
    type: z.literal('reasoning'),
    status,
    summary: z.array(z.never()),
    content: z.array(z.strictObject({ type: z.literal('reasoning_text'), text: z.string() }))
  }),
  z.strictObject({
    id: z.string(),
    type: z.literal('function_call'),
    status,
    call_id: z.string(),
    name: z.string(),
    arguments: z.string()
  })
])

export const responseReply = z.looseObject({
  id: z.string(),
  object: z.literal('response'),
  created_at: z.int(),
  status,
  error: z.object({ code: z.string(), message: z.string() }).nullable(),
  incomplete_details: z.object({ reason: z.literal('max_output_tokens') }).nullable(),
  model: z.string(),
  output: z.array(item),
  store: z.literal(false),
  usage: z
    .object({
      input_tokens: z.int(),
      input_tokens_details: z.object({ cached_tokens: z.int() }),
      output_tokens: z.int(),
      output_tokens_details: z.object({ reasoning_tokens: z.int() }),
      total_tokens: z.int()
    })
    .nullable(),
  shoal
})

export const messageReply = z.strictObject({
  id: z.string(),
  type: z.literal('message'),
  role: z.literal('assistant'),
  model: z.string(),
  content: z.array(
    z.discriminatedUnion('type', [
      z.object({ type: z.literal('thinking'), thinking: z.string(), signature: z.string() }),
      z.object({ type: z.literal('text'), text: z.string(), citations: z.null() }),
      z.object({ type: z.literal('tool_use'), id: z.string(), name: z.string(), input: z.unknown() })
    ])
  ),
  stop_reason: z.enum(['end_turn', 'stop_sequence', 'max_tokens', 'tool_use']).nullable(),
  stop_sequence: z.string().nullable(),
  usage: z.object({
    input_tokens: z.int(),
    cache_creation_input_tokens: z.int(),
    cache_read_input_tokens: z.int(),
    output_tokens: z.int()
  }),
  shoal
})

export const countReply = z.strictObject({ input_tokens: z.int() })

export const errorReply = z.strictObject({
  error: z.strictObject({
    message: z.string(),
    type: z.string(),
    param: z.string().nullable(),
    code: z.string().nullable()
  })
})

export const anthropicErrorReply = z.strictObject({
  type: z.literal('error'),
  error: z.strictObject({ type: z.string(), message: z.string() }),
  request_id: z.string()
})
