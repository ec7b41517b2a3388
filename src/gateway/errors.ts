import { AnswerError, type AnswerErrorCode } from '../chat/index.ts'
import { ShoalError } from '../common/index.ts'

interface Kind {
  readonly status: number
  /** OpenAI's words. */
  readonly type: string
  readonly code: string | null
  /** Anthropic's word, and its status where that is another one. */
  readonly anthropic: string
  readonly anthropicStatus?: number
}

const INVALID = { type: 'invalid_request_error', anthropic: 'invalid_request_error' } as const
const BROKEN = { type: 'server_error', anthropic: 'api_error' } as const
const OVERLOADED = { type: 'server_error', anthropic: 'overloaded_error' } as const

const KINDS = {
  INPUT: { status: 400, code: null, ...INVALID },
  TOO_LONG: { status: 400, code: 'context_length_exceeded', ...INVALID },
  KEY: { status: 401, code: 'invalid_api_key', ...INVALID, anthropic: 'authentication_error' },
  FORBIDDEN: { status: 403, code: 'forbidden', ...INVALID, anthropic: 'permission_error' },
  NOT_FOUND: { status: 404, code: 'not_found', ...INVALID, anthropic: 'not_found_error' },
  UNKNOWN_MODEL: { status: 404, code: 'model_not_found', ...INVALID, anthropic: 'not_found_error' },
  METHOD: { status: 405, code: 'method_not_allowed', ...INVALID },
  SLOW_CLIENT: { status: 408, code: 'request_timeout', ...INVALID },
  TOO_LARGE: { status: 413, code: 'request_too_large', ...INVALID, anthropic: 'request_too_large' },
  LIMITED: {
    status: 429,
    code: 'rate_limit_exceeded',
    type: 'rate_limit_error',
    anthropic: 'rate_limit_error'
  },
  GONE: { status: 499, code: 'client_closed_request', ...INVALID },
  INTERNAL: { status: 500, code: 'internal_error', ...BROKEN },
  NOT_SUPPORTED: { status: 501, code: 'not_supported', ...INVALID },
  BUSY: { status: 503, code: 'overloaded', ...OVERLOADED, anthropicStatus: 529 },
  NOT_COVERED: { status: 503, code: 'model_not_covered', ...OVERLOADED },
  LOST: { status: 503, code: 'chain_lost', ...BROKEN },
  STOPPING: { status: 503, code: 'stopping', ...OVERLOADED },
  TIMEOUT: { status: 504, code: 'timeout', ...BROKEN, anthropic: 'timeout_error' }
} satisfies Record<string, Kind>

/** `KEY`: none, or a wrong one. `LIMITED`: this client asks too much; `BUSY`: all clients together do. */
export type GatewayErrorCode = keyof typeof KINDS

export interface GatewayErrorData {
  /** What of the request is wrong, in the dialect's words, such as `messages[0].content`. */
  readonly param?: string
  readonly retryAfterSeconds?: number
  /** In the queue that was full. */
  readonly position?: number
}

/** Thrown where a request is refused or fails: each dialect renders it in its own form. */
export class GatewayError extends ShoalError {
  declare readonly code: GatewayErrorCode
  readonly data: GatewayErrorData

  constructor(code: GatewayErrorCode, message: string, data: GatewayErrorData = {}, options?: ErrorOptions) {
    super(code, message, options)
    this.data = data
  }

  get kind(): Kind {
    return KINDS[this.code]
  }
}

/** Until when somebody may have joined, and until a place may be free. */
const RETRY_SECONDS: Partial<Record<AnswerErrorCode, number>> = { NOT_COVERED: 30, BUSY: 5, LOST: 5 }

/**
 * Any error as one that may be told: what nobody foresaw is `INTERNAL`, without its message.
 * `params`: what a dialect calls the internal request's fields.
 */
export function toGatewayError(error: unknown, params: Readonly<Record<string, string>> = {}): GatewayError {
  if (error instanceof GatewayError) return error
  if (error instanceof AnswerError) return fromAnswerError(error, params)
  const name = error instanceof Error ? error.name : ''
  if (name === 'TimeoutError') return new GatewayError('TIMEOUT', 'the answer took too long')
  if (name === 'AbortError') return new GatewayError('GONE', 'the client is gone')
  return new GatewayError('INTERNAL', 'something went wrong here; it is in the log', {}, { cause: error })
}

function fromAnswerError(error: AnswerError, params: Readonly<Record<string, string>>): GatewayError {
  const { field = FIELDS[error.code], retrySeconds = RETRY_SECONDS[error.code] } = error.data
  const param = field === undefined ? undefined : (params[field] ?? field)
  return new GatewayError(
    error.code,
    withMissing(error),
    {
      ...(param !== undefined && { param }),
      ...(retrySeconds !== undefined && { retryAfterSeconds: Math.max(1, Math.ceil(retrySeconds)) })
    },
    { cause: error }
  )
}

const FIELDS: Partial<Record<AnswerErrorCode, string>> = {
  UNKNOWN_MODEL: 'model',
  NOT_COVERED: 'model',
  TOO_LONG: 'input'
}

/** The message names the missing blocks, whether or not whoever threw it thought of it. */
function withMissing({ message, data }: AnswerError): string {
  const missing = (data.missing ?? []).map(([start, end]) => `${start}-${end - 1}`).join(', ')
  return missing === '' || message.includes('block') ? message : `${message} (missing blocks: ${missing})`
}
