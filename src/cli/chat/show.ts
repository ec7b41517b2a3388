/** An answer as people see it, and what it was like in figures. */
import type { Writable } from 'node:stream'
import { styleText } from 'node:util'
import type { AnswerEvent, HopReport } from '../../chat/index.ts'
import { shortPeer } from '../options.ts'
import { plain } from '../status.ts'
import { table } from '../units.ts'

/** What `--json` prints, and what `--verbose` shows as a table. */
export interface Report {
  readonly text: string
  readonly reasoning?: string
  readonly tokens: number
  readonly prompt_tokens: number
  readonly cached_tokens: number
  readonly tokens_per_second: number
  readonly first_token_ms: number
  /** Why it ended: `stop`, `length`. */
  readonly reason: string
  /** Tokens that were guessed before they were drawn; absent: nothing was to be guessed. */
  readonly guessed?: { readonly tokens: number; readonly right: number }
  readonly hops: readonly {
    readonly node: string
    readonly span: string
    readonly ms_per_token: number
    readonly bytes_per_token: number
  }[]
}

export interface Screen {
  /** Where the answer goes; undefined: nowhere. */
  readonly output: Writable | undefined
  readonly note: (message: string) => void
}

/** Shows the answer while it comes. */
export async function show(events: AsyncIterable<AnswerEvent>, { output, note }: Screen): Promise<Report> {
  let [text, reasoning] = ['', '']
  let isThinking = false
  let atStart = true
  const write = (words: string): void => {
    output?.write(words)
    atStart = words.endsWith('\n')
  }
  const think = (words: string): string =>
    // As NO_COLOR, and what `output` is, have it.
    output === undefined ? words : styleText('dim', words, { stream: output as NodeJS.WriteStream })
  try {
    for await (const event of events) {
      if (event.type === 'reasoning') {
        reasoning += event.text
        isThinking = true
        write(think(printable(event.text)))
      } else if (event.type === 'text') {
        if (isThinking) write(atStart ? '\n' : '\n\n')
        isThinking = false
        text += event.text
        write(printable(event.text))
      } else if (event.type === 'chain') {
        note(`${atStart || output === undefined ? '' : '\n'}note: ${plain(event.message)}`)
      } else if (event.type === 'end') {
        return reportOf(event, text, reasoning)
      }
    }
  } finally {
    if (!(atStart && text === '')) output?.write('\n')
  }
  throw new Error('the answer has no end')
}

/** Models write whatever strangers taught them: escape sequences would do things to a terminal. */
function printable(text: string): string {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: those are what it is about
  return text.replace(/[\u0000-\u0008\u000b-\u001f\u007f-\u009f]/g, '')
}

function reportOf(
  { reason, usage, timings, guesses, hops }: AnswerEvent & { type: 'end' },
  text: string,
  reasoning: string
): Report {
  const { promptTokens, cachedTokens, answerTokens } = usage
  const { decodeMs, firstTokenMs } = timings
  return {
    ...{ text, ...(reasoning === '' ? {} : { reasoning }) },
    ...{ tokens: answerTokens, prompt_tokens: promptTokens, cached_tokens: cachedTokens },
    tokens_per_second: decodeMs > 0 ? round(((answerTokens - 1) * 1000) / decodeMs) : 0,
    ...{ first_token_ms: round(firstTokenMs), reason },
    ...(guesses && { guessed: { tokens: guesses.guessed, right: guesses.right } }),
    hops: hops.map(hopOf)
  }
}

function hopOf({ peer, start, end, queueMs, computeMs, bytesOut }: HopReport): Report['hops'][number] {
  const ms = round(queueMs + computeMs)
  return { node: shortPeer(peer), span: `${start}-${end}`, ms_per_token: ms, bytes_per_token: bytesOut }
}

function round(value: number): number {
  return Math.round(value * 1000) / 1000
}

export function reportInWords({
  tokens,
  tokens_per_second,
  first_token_ms,
  guessed,
  hops,
  ...rest
}: Report): string[] {
  const rows = hops.map(({ node, span, ms_per_token, bytes_per_token }, index) => [
    ...[String(index + 1), node, span],
    // Stages report now and then: of a short answer, nothing may have come yet.
    ...(bytes_per_token === 0 ? ['-', '-'] : [ms_per_token.toFixed(2), String(bytes_per_token)])
  ])
  const cached = rest.cached_tokens > 0 ? `, ${rest.cached_tokens} of them computed before` : ''
  return [
    ...table([['hop', 'node', 'span', 'ms/token', 'bytes/token'], ...rows]),
    '',
    `${tokens} tokens, ${tokens_per_second.toFixed(1)} tokens per second, first after ${first_token_ms.toFixed(0)} ms`,
    `prompt of ${rest.prompt_tokens} tokens${cached}`,
    ...(guessed?.tokens ? [`${guessed.right} of ${guessed.tokens} guesses were right`] : [])
  ]
}
