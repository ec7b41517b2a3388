/** A client of OpenAI's completions, as cheap as can be: what it costs is not to be measured. */
import { type Agent, request } from 'node:http'

export interface Streamed {
  readonly status: number
  readonly retryAfter: string | undefined
  /** When each piece of text came, in milliseconds of performance.now(). */
  readonly times: readonly number[]
  /** From the request to the first token. */
  readonly firstMs: number
  /** As the server counts them. */
  readonly tokens: number
  readonly isWhole: boolean
}

export interface AskOptions {
  readonly agent?: Agent
  /** For each piece of text. */
  readonly onText?: () => void
}

/** Streams `/v1/completions`; rejects where the connection breaks. */
export function ask(
  url: string,
  body: Record<string, unknown>,
  { agent, onText }: AskOptions = {}
): Promise<Streamed> {
  const { promise, resolve, reject } = Promise.withResolvers<Streamed>()
  const sentAt = performance.now()
  const text = JSON.stringify({ ...body, stream: true, stream_options: { include_usage: true } })
  const headers = { 'content-type': 'application/json', 'content-length': Buffer.byteLength(text) }
  const sent = request(`${url}/v1/completions`, { agent, method: 'POST', headers }, (response) => {
    const times: number[] = []
    let rest = ''
    let isWhole = false
    let tokens = 0
    response.setEncoding('utf8').on('data', (chunk: string) => {
      const at = performance.now()
      const lines = (rest + chunk).split('\n')
      rest = lines.pop() as string
      for (const line of lines) {
        if (line === 'data: [DONE]') isWhole = true
        else if (/^data: .*"text":"(?!")/.test(line)) {
          times.push(at)
          onText?.()
        }
        const counted = /"completion_tokens":(\d+)/.exec(line)
        if (counted !== null) tokens = Number(counted[1])
      }
    })
    response.on('error', reject)
    response.on('end', () => {
      const { statusCode: status = 0 } = response
      const retryAfter = response.headers['retry-after']
      const firstMs = (times[0] ?? Number.NaN) - sentAt
      resolve({ status, retryAfter, times, firstMs, tokens, isWhole })
    })
  })
  sent.on('error', reject)
  sent.end(text)
  return promise
}
