import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { type CompletionEvent, complete } from './completions.ts'

const REQUEST = { model: 'demo', messages: [{ role: 'user', content: 'hello' }] } as const

const encoder = new TextEncoder()

function streamOf(pieces: readonly (string | Uint8Array)[], onCancel?: () => void): Response {
  const rest = [...pieces]
  const body = new ReadableStream({
    pull(controller) {
      const next = rest.shift()
      if (next === undefined) controller.close()
      else controller.enqueue(typeof next === 'string' ? encoder.encode(next) : next)
    },
    cancel: () => onCancel?.()
  })
  return new Response(body, { headers: { 'content-type': 'text/event-stream' } })
}

const chunk = (delta: object, finish_reason: string | null = null): string =>
  `data: ${JSON.stringify({ choices: [{ index: 0, delta, finish_reason }], usage: null })}\n\n`

async function answer(response: Response, signal = new AbortController().signal): Promise<CompletionEvent[]> {
  const events: CompletionEvent[] = []
  const fetch = async (): Promise<Response> => response
  for await (const event of complete(REQUEST, { signal, fetch })) events.push(event)
  return events
}

describe('complete', () => {
  test('tells queue, chain, reasoning, text, end and report', async () => {
    const hop = { peer: 'p', start: 0, end: 8, queueMs: 0, computeMs: 2, bytesOut: 3 }
    const timings = { templateMs: 1, tokenizeMs: 1, chainMs: 2, firstTokenMs: 3, decodeMs: 4 }
    const usage = { prompt_tokens: 3, completion_tokens: 2 }
    const events = await answer(
      streamOf([
        ': queued, position 3\n\n: working\n\n',
        chunk({ role: 'assistant', content: '', refusal: null }),
        chunk({ reasoning_content: 'hm' }),
        ': shoal {"index":0,"change":"repaired","message":"going on"}\n\n',
        chunk({ content: 'yes' }),
        chunk({}, 'stop'),
        `data: ${JSON.stringify({ choices: [], usage, shoal: [{ hops: [hop], timings }] })}\n\ndata: [DONE]\n\n`
      ])
    )
    expect(events).toEqual([
      { type: 'queued', position: 3 },
      { type: 'start' },
      { type: 'reasoning', text: 'hm' },
      { type: 'chain', change: 'repaired', message: 'going on' },
      { type: 'text', text: 'yes' },
      { type: 'end', reason: 'stop' },
      { type: 'report', usage, hops: [hop], timings }
    ])
  })

  test('is the same wherever it is cut, in the middle of a character, too', async () => {
    const said = fc.oneof(
      fc.string({ minLength: 1, unit: 'grapheme' }).map((text) => ({ type: 'text' as const, text })),
      fc.nat(99).map((position) => ({ type: 'queued' as const, position }))
    )
    const written = (event: CompletionEvent): string =>
      event.type === 'text'
        ? chunk({ content: event.text })
        : `: queued, position ${'position' in event && event.position}\n\n`
    await fc.assert(
      fc.asyncProperty(fc.array(said), fc.array(fc.nat(), { maxLength: 20 }), async (events, places) => {
        const bytes = encoder.encode(`${events.map(written).join('')}data: [DONE]\n\n`)
        const cuts = [0, ...places.map((place) => place % bytes.length).sort((a, b) => a - b), bytes.length]
        const pieces = cuts.slice(1).map((end, index) => bytes.slice(cuts[index], end))
        expect(await answer(streamOf(pieces.filter(({ length }) => length > 0)))).toEqual(events)
      })
    )
  })

  test('a refusal has the code, the words and when to try again', async () => {
    const error = { message: 'nobody hosts blocks 3-5', code: 'model_not_covered', type: 'x', param: null }
    const response = Response.json({ error }, { status: 503, headers: { 'retry-after': '30' } })
    await expect(answer(response)).rejects.toMatchObject({
      ...{ code: 'model_not_covered', message: 'nobody hosts blocks 3-5', retryAfterSeconds: 30 }
    })
  })

  test('an error in mid-stream is thrown after what came before', async () => {
    const error = `data: ${JSON.stringify({ error: { message: 'broke', code: 'chain_lost' } })}\n\n`
    await expect(answer(streamOf([chunk({ content: 'a' }), error]))).rejects.toMatchObject({
      code: 'chain_lost'
    })
  })

  test('a stream that ends before its end has broken off', async () => {
    await expect(answer(streamOf([chunk({ content: 'a' })]))).rejects.toMatchObject({
      code: 'connection_lost'
    })
  })

  test('whoever stops reading ends the answer', async () => {
    let isCancelled = false
    const response = streamOf(Array(50).fill(chunk({ content: 'a' })), () => {
      isCancelled = true
    })
    const options = { signal: new AbortController().signal, fetch: async () => response }
    for await (const _ of complete(REQUEST, options)) break
    expect(isCancelled).toBe(true)
  })

  test('hostile comments are skipped', async () => {
    const pieces = [
      ': shoal {"change":"<b>"}\n\n: shoal nonsense\n\n: queued, position x\n\ndata: [DONE]\n\n'
    ]
    expect(await answer(streamOf(pieces))).toEqual([])
  })
})
