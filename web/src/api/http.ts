/** Calls to this gateway. */

/** Where a key is kept that a public gateway asks for. */
const KEY = 'shoal.key'

/** What a gateway refused, in its words, or what kept it from answering. */
export class ApiError extends Error {
  /** 0: there was no answer at all. */
  readonly status: number
  readonly code: string

  constructor(status: number, code: string, message: string, options?: ErrorOptions) {
    super(message, options)
    this.name = 'ApiError'
    this.status = status
    this.code = code
  }
}

export function apiKey(): string | undefined {
  try {
    return localStorage.getItem(KEY) ?? undefined
  } catch {
    return undefined // no storage
  }
}

/** Empty: none. */
export function setApiKey(key: string): void {
  if (key === '') localStorage.removeItem(KEY)
  else localStorage.setItem(KEY, key)
}

function headersOf(init: RequestInit): Headers {
  const headers = new Headers(init.headers)
  const key = apiKey()
  if (key !== undefined) headers.set('authorization', `Bearer ${key}`)
  if (init.body !== undefined) headers.set('content-type', 'application/json')
  // What other pages can't send without asking.
  if (init.method !== undefined && init.method !== 'GET') headers.set('x-shoal-page', '1')
  return headers
}

/** Both of the dialects' forms, and what is none of them, such as a proxy's page. */
async function errorOf(response: Response): Promise<ApiError> {
  const { status } = response
  const body: unknown = await response.json().catch(() => undefined)
  const error = (body as { error?: { message?: unknown; code?: unknown; type?: unknown } } | undefined)?.error
  const code = error?.code ?? error?.type
  const message = typeof error?.message === 'string' ? error.message : `the gateway answered ${status}`
  return new ApiError(status, typeof code === 'string' ? code : 'unknown', message)
}

/** Throws an ApiError unless the gateway answers well, and an AbortError where the signal fires. */
export async function request(path: string, init: RequestInit = {}): Promise<Response> {
  const response = await fetch(path, { ...init, headers: headersOf(init) }).catch((cause) => {
    if (init.signal?.aborted) throw cause
    throw new ApiError(
      0,
      'unreachable',
      'Shoal does not answer. Is it still running? Start it with "shoal up".',
      {
        cause
      }
    )
  })
  if (!response.ok) throw await errorOf(response)
  return response
}

/** What it answers as JSON; undefined where it answers nothing. */
export async function call<T>(path: string, init: RequestInit = {}): Promise<T> {
  const response = await request(path, init)
  const text = await response.text()
  return (text === '' ? undefined : JSON.parse(text)) as T
}

/** Sends JSON. */
export function send<T>(method: 'POST' | 'PATCH' | 'DELETE', path: string, body?: unknown): Promise<T> {
  return call(path, { method, ...(body === undefined ? {} : { body: JSON.stringify(body) }) })
}
