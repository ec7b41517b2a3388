/** In characters: Markdown of this length is read and drawn within a few milliseconds. */
const PART = 4_000

/**
 * Cuts a long text where one block has ended and another surely begins, so that what is finished is not read again with each
 * token. Together the parts are the text; where a text grows, its cuts stay.
 */
export function partsOf(text: string): string[] {
  const parts: string[] = []
  let from = 0
  let fence: string | undefined
  let wasBlank = false
  for (let at = 0; at < text.length; ) {
    const end = text.indexOf('\n', at)
    if (end < 0) break // a line that still grows may yet become anything
    const line = text.slice(at, end)
    const sign = /^\s*(`{3,}|~{3,})/.exec(line)?.[1]
    // A word or a heading at the margin ends every list, quote and table before it.
    if (fence === undefined && wasBlank && at - from >= PART && /^(#{1,6} |\p{L}|\*\*)/u.test(line)) {
      parts.push(text.slice(from, at))
      from = at
    }
    if (fence === undefined) fence = sign
    else if (sign?.startsWith(fence) && line.trim() === sign) fence = undefined
    wasBlank = line.trim() === ''
    at = end + 1
  }
  parts.push(text.slice(from))
  return parts
}
