/** Answers as wholes, for who does not stream. */
import type { AnswerEvent, Call, DrawnLog, Usage } from '../../chat/index.ts'
import type { Inquiry } from './inquiry.ts'

type End = Extract<AnswerEvent, { type: 'end' }>

/** What has come of an answer. */
export class Whole {
  model = ''
  promptTokens = 0
  reasoning = ''
  text = ''
  readonly logs: DrawnLog[] = []
  readonly calls: (Call & { arguments: string })[] = []
  end: End | undefined

  add(event: AnswerEvent): void {
    if (event.type === 'start') {
      this.model = event.model
      this.promptTokens = event.promptTokens
    } else if (event.type === 'reasoning') this.reasoning += event.text
    else if (event.type === 'text') {
      this.text += event.text
      for (const log of event.logs) this.logs.push(log)
    } else if (event.type === 'call')
      this.calls[event.index] = { id: event.id, name: event.name, arguments: '' }
    else if (event.type === 'arguments') {
      const call = this.calls[event.index]
      if (call !== undefined) call.arguments += event.text
    } else if (event.type === 'end') this.end = event
  }
}

/** A whole that came to its end. */
export type Ended = Whole & { readonly end: End }

export async function collect(inquiry: Inquiry, count: number): Promise<readonly Ended[]> {
  const wholes = Array.from({ length: count }, () => new Whole())
  for (let batch = await inquiry.next(); batch !== undefined; batch = await inquiry.next()) {
    for (const { index, event } of batch) wholes[index]?.add(event)
  }
  return wholes.map(ended)
}

/** Throws where the end has not come: an answer without one is cut off, not short. */
export function ended(whole: Whole): Ended {
  if (whole.end === undefined) throw new Error('an answer stopped without its end')
  return whole as Ended
}

/** Of all answers; `each`: how many answers one prompt has, which is counted once. */
export function totalUsage(wholes: readonly Ended[], each: number): Usage {
  const usages = wholes.map(({ end }) => end.usage)
  const firsts = usages.filter((_, index) => index % each === 0)
  return {
    promptTokens: sum(firsts.map((usage) => usage.promptTokens)),
    cachedTokens: sum(firsts.map((usage) => usage.cachedTokens)),
    answerTokens: sum(usages.map((usage) => usage.answerTokens)),
    reasoningTokens: sum(usages.map((usage) => usage.reasoningTokens))
  }
}

function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0)
}
