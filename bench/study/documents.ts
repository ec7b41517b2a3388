/** Parts of documents that are written by a program: between two comments that name them. */

/** Gives the text of one part. */
export type Sections = Readonly<Record<string, () => string>>

const PART = /<!-- begin: ([\w-]+) -->\n[\s\S]*?<!-- end: \1 -->/g

/** With all its parts anew. Throws where one has no name that is known. */
export function rewritten(document: string, sections: Sections): string {
  return document.replace(PART, (_, name: string) => {
    const section = sections[name]
    if (section === undefined) throw new Error(`nobody writes ${name}`)
    return `<!-- begin: ${name} -->\n${section().trim()}\n<!-- end: ${name} -->`
  })
}

/** Names of the parts that a document has. */
export function partsOf(document: string): string[] {
  return [...document.matchAll(PART)].map(([, name]) => name as string)
}

/** A table of Markdown; numbers are to be texts already. */
export function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const line = (cells: readonly string[]): string => `| ${cells.join(' | ')} |`.replaceAll(/ {2,}/g, ' ')
  return [line(head), line(head.map(() => '---')), ...rows.map(line)].join('\n')
}

export interface Chart {
  readonly title: string
  readonly x: { readonly title: string; readonly values: readonly (string | number)[] }
  readonly y: { readonly title: string; readonly most?: number }
  readonly lines: readonly (readonly number[])[]
}

/** As GitHub and editors draw it. */
export function chart({ title, x, y, lines }: Chart): string {
  const most = y.most ?? Math.max(...lines.flat())
  return [
    '```mermaid',
    'xychart-beta',
    `  title "${title}"`,
    `  x-axis "${x.title}" [${x.values.map((value) => `"${value}"`).join(', ')}]`,
    `  y-axis "${y.title}" 0 --> ${digits(most, 3).replaceAll(',', '')}`,
    ...lines.map((values) => `  line [${values.map((value) => Number(value.toPrecision(4))).join(', ')}]`),
    '```'
  ].join('\n')
}

/** To so many digits, thousands apart. */
export function digits(value: number, count = 2): string {
  return Number(value.toPrecision(count)).toLocaleString('en-US', { maximumFractionDigits: 6 })
}
