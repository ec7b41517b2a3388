/** What a server's refusal means, in words that say what to do. */
import { SourceError } from './errors.ts'

/** Who asked, and what for. */
export interface Asked {
  /** Without query: it may hold a signature. */
  readonly name: string
  /** A model's page, where the hub was asked. */
  readonly page?: string | undefined
  readonly hasToken: boolean
}

export function failureOf(status: number, headers: Headers, asked: Asked): SourceError {
  const { name } = asked
  if (status === 401) return new SourceError('UNAUTHORISED', unauthorised(headers, asked))
  if (status === 403) return new SourceError('FORBIDDEN', forbidden(headers, asked))
  if (status === 404 || status === 410) {
    return new SourceError('NOT_FOUND', `There is no ${name}: check the spelling, or whether it has moved.`)
  }
  if (status === 416) {
    const message = `${name} does not have the bytes that were asked for: it is empty, or has become shorter.`
    return new SourceError('RANGE', message)
  }
  const retryAfterMs = retryAfter(headers)
  const wait = retryAfterMs === undefined ? {} : { retryAfterMs }
  if (status === 429 || (status === 503 && retryAfterMs !== undefined)) {
    const when = retryAfterMs === undefined ? 'later' : `in ${Math.ceil(retryAfterMs / 1_000)} s`
    const hint = asked.page === undefined || asked.hasToken ? '' : ' Who sets HF_TOKEN may ask more often.'
    return new SourceError('BUSY', `${name}: the server is asked too often, try again ${when}.${hint}`, wait)
  }
  if (status >= 500 || status === 408) {
    return new SourceError(
      'SERVER',
      `${name}: the server failed with status ${status}, try again later.`,
      wait
    )
  }
  return new SourceError(
    'ANSWER',
    `${name}: the server answered with status ${status}, which is no use here.`
  )
}

/** The hub doesn't tell strangers which repositories there are: one that is not there is unauthorised, too. */
function unauthorised(headers: Headers, { name, page, hasToken }: Asked): string {
  if (page === undefined) return `${name} is for those who log in, which Shoal does at the hub only.`
  if (isGated(headers)) return gated(page, hasToken)
  if (hasToken) return `The hub does not take the token for ${name}: check HF_TOKEN, and the name's spelling.`
  return `${name} is private, or not there: check the spelling, or set HF_TOKEN to a token that may read it.`
}

function forbidden(headers: Headers, { name, page, hasToken }: Asked): string {
  if (page === undefined) return `The server does not allow to read ${name}.`
  if (isGated(headers)) return gated(page, hasToken)
  return hasToken
    ? `The token in HF_TOKEN may not read ${name}: accept the model's licence at ${page}, or use another token.`
    : `The hub does not allow to read ${name}: set HF_TOKEN to a token that may read it.`
}

function isGated(headers: Headers): boolean {
  return headers.get('x-error-code') === 'GatedRepo'
}

function gated(page: string, hasToken: boolean): string {
  const token = hasToken ? '; HF_TOKEN must be a token of that account' : ', then set HF_TOKEN'
  return `The model's authors want to know who uses it: accept its licence at ${page}${token}.`
}

/** Seconds, or a date. */
function retryAfter(headers: Headers): number | undefined {
  const value = headers.get('retry-after')?.trim()
  if (value === undefined) return undefined
  const ms = /^\d+$/.test(value) ? Number(value) * 1_000 : Date.parse(value) - Date.now()
  return Number.isFinite(ms) ? Math.max(ms, 0) : undefined
}
