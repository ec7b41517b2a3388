/** What a template makes of conversations: found out by rendering small ones, as llama.cpp's minja does. */
import { Jinja, JinjaError } from './jinja.ts'
import { type Syntax, syntaxOf } from './syntax.ts'

export type TemplateMessage = Readonly<Record<string, unknown>>

export interface Variables {
  readonly messages: readonly TemplateMessage[]
  readonly tools?: readonly unknown[] | null | undefined
  readonly [name: string]: unknown
}

const [USER, SYSTEM, RESULT] = ['Needle-user', 'Needle-system', 'Needle-result']
const TOOL = {
  type: 'function',
  function: { name: 'needle_tool', description: 'A tool.', parameters: { type: 'object', properties: {} } }
}

export class TemplateStyle {
  readonly syntax: Syntax
  readonly source: string
  /** Contents are lists of parts. */
  readonly wantsParts: boolean
  readonly hasSystem: boolean
  readonly hasTools: boolean
  /** How the arguments of earlier calls are wanted. */
  readonly calls: 'object' | 'string' | undefined
  /** What a message of calls has where it says nothing. */
  readonly nothing: '' | null
  readonly hasResults: boolean
  /** Several calls in a message. */
  readonly hasParallel: boolean
  /** Ids of calls are nine letters or digits. */
  readonly wantsNine: boolean
  readonly #jinja: Jinja
  /** What `tools` is where there are none: Python's None, but some go through them anyway. */
  readonly #noTools: null | readonly unknown[]
  readonly #specials: { readonly bos_token: string; readonly eos_token: string }

  /** Throws a JinjaError where it does not parse, or renders no conversation at all. */
  constructor(source: string, specials: { readonly begin: string; readonly end: string }, now: () => Date) {
    this.source = source
    this.#jinja = new Jinja(source, now)
    this.#specials = { bos_token: specials.begin, eos_token: specials.end }
    this.syntax = syntaxOf(source)
    this.wantsNine = /length\s*(?:!=|==|\(\)|of|)\s*9\b/.test(source)
    this.#noTools = [null, []].find((none) => this.#shows([user(USER)], [USER], none)) ?? null
    this.wantsParts = !this.#shows([user(USER)], [USER])
    if (this.wantsParts && !this.#shows([user([{ type: 'text', text: USER }])], [USER])) {
      // To say why.
      this.render({ messages: [user(USER)] })
      throw new JinjaError('it does not render what users say', false)
    }
    const said = this.#contents([user(USER)])
    this.hasSystem = this.#shows(
      [{ role: 'system', content: this.#content(SYSTEM) }, ...said],
      [SYSTEM, USER]
    )
    this.hasTools = this.#shows(said, [TOOL.function.name], [TOOL])
    const forms = (['object', 'string'] as const).flatMap((form) => [
      [form, ''] as const,
      [form, null] as const
    ])
    const [calls, nothing = ''] = forms.find(([form, empty]) => this.#showsCalls(said, form, empty, 1)) ?? []
    this.calls = calls
    this.nothing = nothing
    this.hasResults = this.calls !== undefined && this.#showsCalls(said, this.calls, nothing, 1, true)
    this.hasParallel =
      this.calls !== undefined && this.#showsCalls(said, this.calls, nothing, 2, this.hasResults)
  }

  /** Throws a JinjaError. */
  render(variables: Variables): string {
    return this.#jinja.render({
      ...{ add_generation_prompt: true, ...this.#specials, ...variables },
      tools: variables.tools ?? this.#noTools
    })
  }

  #content(text: string): unknown {
    return this.wantsParts ? [{ type: 'text', text }] : text
  }

  #contents(messages: readonly TemplateMessage[]): TemplateMessage[] {
    return messages.map((message) => ({ ...message, content: this.#content(message.content as string) }))
  }

  #shows(
    messages: readonly TemplateMessage[],
    needles: readonly string[],
    tools?: readonly unknown[] | null
  ): boolean {
    try {
      const text = this.render({ messages, tools })
      return needles.every((needle) => text.includes(needle)) && !text.includes('\\"needle_key')
    } catch (error) {
      if (error instanceof JinjaError && error.isRefusal) return false
      throw error
    }
  }

  #showsCalls(
    said: readonly TemplateMessage[],
    form: 'object' | 'string',
    nothing: '' | null,
    count: number,
    withResults = false
  ): boolean {
    const indices = Array.from({ length: count }, (_, index) => index)
    const calls = indices.map((index) => {
      const given = { needle_key: `needle_value_${index}` }
      const called = {
        name: `needle_call_${index}`,
        arguments: form === 'object' ? given : JSON.stringify(given)
      }
      return { id: `needle00${index}`, type: 'function', function: called }
    })
    const results = indices.map((index) => ({
      ...{ role: 'tool', tool_call_id: `needle00${index}`, name: `needle_call_${index}` },
      content: this.#content(`${RESULT}-${index}`)
    }))
    const messages = [...said, { role: 'assistant', content: nothing, tool_calls: calls }]
    const needles = indices.flatMap((index) => [`needle_call_${index}`, `needle_value_${index}`])
    if (!withResults) return this.#shows(messages, ['needle_key', ...needles], [TOOL])
    const answers = indices.map((index) => `${RESULT}-${index}`)
    return this.#shows([...messages, ...results], [...needles, ...answers], [TOOL])
  }
}

function user(content: unknown): TemplateMessage {
  return { role: 'user', content }
}
