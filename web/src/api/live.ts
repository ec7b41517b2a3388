/** A report that the gateway tells anew whenever it has changed. */
import { useQuery, useQueryClient } from '@tanstack/react-query'
import { useEffect, useState } from 'react'
import { EventReader } from './completions-events.ts'
import { ApiError, call, request } from './http.ts'

/** `waiting`: the connection broke, and is tried again. */
export type Connection = 'connecting' | 'live' | 'waiting'

export interface Live<T> {
  readonly data: T | undefined
  /** Why there is nothing, or nothing new. */
  readonly error: ApiError | undefined
  readonly connection: Connection
  /** When it was last known to be so, as Date.now() has it; 0: never. */
  readonly heardAt: number
}

/** Half of it is random, so that a gateway that comes back is not asked by all at once. */
const RETRY_MS = 2_000
const MOST_RETRY_MS = 30_000
/** The gateway says something every 15 s. */
const SILENCE_MS = 40_000
/** Where there is no stream, such as when too many listen already. */
const ASK_MS = 5_000

/** Tries again later, but not where the gateway has said that there is no such thing, or not for us. */
const isFinal = (error: unknown): boolean =>
  error instanceof ApiError && [401, 403, 404].includes(error.status)

/** Reads a stream of events until it ends; throws where it breaks or falls silent. */
async function follow(
  path: string,
  stop: AbortSignal,
  onPart: (data: string | undefined) => void
): Promise<void> {
  const silent = new AbortController()
  let timer = setTimeout(() => silent.abort(), SILENCE_MS)
  try {
    const signal = AbortSignal.any([stop, silent.signal])
    const { body } = await request(path, { headers: { accept: 'text/event-stream' }, signal })
    if (body === null) return
    const events = new EventReader()
    for await (const text of body.pipeThrough(new TextDecoderStream()) as AsyncIterable<string>) {
      clearTimeout(timer)
      timer = setTimeout(() => silent.abort(), SILENCE_MS)
      for (const part of events.push(text)) onPart(part.kind === 'data' ? part.text : undefined)
    }
  } finally {
    clearTimeout(timer)
  }
}

/** Resolves early when the machine is online again. */
function pause(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const done = (): void => {
      clearTimeout(timer)
      removeEventListener('online', done)
      signal.removeEventListener('abort', done)
      resolve()
    }
    const timer = setTimeout(done, ms)
    addEventListener('online', done)
    signal.addEventListener('abort', done)
  })
}

/** The report at a path: asked once, then followed, under the query key `[path]`. */
export function useLive<T>(path: string): Live<T> {
  const queries = useQueryClient()
  const [connection, setConnection] = useState<Connection>('connecting')
  const [heardAt, setHeardAt] = useState(0)
  const query = useQuery<T, ApiError>({
    queryKey: [path],
    queryFn: ({ signal }) => call<T>(path, { signal }),
    retry: false,
    refetchInterval: ({ state }) => (connection !== 'waiting' || isFinal(state.error) ? false : ASK_MS)
  })
  useEffect(() => {
    const life = new AbortController()
    const onPart = (data: string | undefined): void => {
      if (data !== undefined) queries.setQueryData([path], JSON.parse(data))
      setConnection('live')
      setHeardAt(Date.now())
    }
    const keepFollowing = async (): Promise<void> => {
      for (let retryMs = RETRY_MS; !life.signal.aborted; retryMs = Math.min(retryMs * 2, MOST_RETRY_MS)) {
        const isOver = await follow(path, life.signal, (data) => {
          retryMs = RETRY_MS
          onPart(data)
        }).then(() => false, isFinal)
        if (isOver || life.signal.aborted) return
        setConnection('waiting')
        await pause(retryMs * (0.5 + Math.random() / 2), life.signal)
      }
    }
    void keepFollowing()
    return () => life.abort()
  }, [path, queries])
  return {
    data: query.data,
    error: query.error ?? undefined,
    connection,
    heardAt: Math.max(heardAt, query.dataUpdatedAt)
  }
}
