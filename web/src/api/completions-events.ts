/** Server-sent events over fetch: EventSource can't post, and hides the comments that tell of the queue and the chain. */

/** A comment without its colon, or the data of one event, which has one line of it here. */
export interface EventPart {
  readonly kind: 'comment' | 'data'
  readonly text: string
}

/** In characters: an event is a few tokens; the last of an answer has the whole chain, a swarm's some thousand nodes. */
const MAX_LINE = 1 << 24

/** Text in, cut anywhere; parts out, as soon as they are whole. https://html.spec.whatwg.org/#event-stream-interpretation */
export class EventReader {
  #rest = ''

  /** Throws an Error where a line has no end. */
  push(text: string): EventPart[] {
    const lines = (this.#rest + text).split('\n')
    this.#rest = lines.pop() ?? ''
    if (this.#rest.length > MAX_LINE) throw new Error('a line that has no end')
    return lines.flatMap((line): EventPart[] => {
      if (line.startsWith(':')) return [{ kind: 'comment', text: line.slice(1).trim() }]
      return line.startsWith('data:') ? [{ kind: 'data', text: line.slice('data:'.length).trim() }] : []
    })
  }
}
