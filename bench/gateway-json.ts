/** Whether answers that have to follow a JSON schema do, at a temperature at which a small model writes nonsense. */
import { join } from 'node:path'
import { z } from 'zod'
import type { Figure } from './bench.ts'
import { DEMO } from './demo.ts'
import { startShoal, stop } from './gateway-servers.ts'

const ANSWERS = 100
const TOKENS = 700

const name = { type: 'string', maxLength: 20 }
const object = (properties: Record<string, unknown>) => ({
  ...{ type: 'object', properties, required: Object.keys(properties), additionalProperties: false }
})

/** Nested, with enums, arrays, numbers and escapes. */
const SCHEMAS = [
  object({
    name,
    age: { type: 'integer', minimum: 0, maximum: 130 },
    mood: { enum: ['glad', 'sad', 'so "so"\n'] }
  }),
  object({
    people: { type: 'array', minItems: 1, maxItems: 3, items: object({ name, height: { type: 'number' } }) }
  }),
  object({
    place: object({ town: name, at: object({ x: { type: 'integer' }, y: { type: 'integer' } }) }),
    open: { type: 'boolean' }
  }),
  object({
    either: {
      anyOf: [{ type: 'null' }, name, { type: 'array', maxItems: 4, items: { enum: ['a', 'b', 3, null] } }]
    }
  }),
  object({
    day: { type: 'string', format: 'date' },
    code: { type: 'string', pattern: '^[A-Z]{2}-[0-9]{3}$' }
  })
]

interface Reply {
  readonly choices: readonly [
    { readonly message: { readonly content: string }; readonly finish_reason: string }
  ]
}

export async function measureJson(folder: string): Promise<Record<string, Figure>> {
  const server = await startShoal(join(folder, 'json'), {
    ...{ model: DEMO, threads: 1, context: 8192, sessions: 4 }
  })
  let whole = 0
  let valid = 0
  try {
    for (let seed = 0; seed < ANSWERS; seed++) {
      const schema = SCHEMAS[seed % SCHEMAS.length] as (typeof SCHEMAS)[number]
      const response = await fetch(`${server.url}/v1/chat/completions`, {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify({
          ...{ model: server.model, temperature: 1, seed, max_tokens: TOKENS },
          messages: [{ role: 'user', content: 'Tell me of somebody.' }],
          response_format: { type: 'json_schema', json_schema: { name: 'answer', strict: true, schema } }
        })
      })
      if (!response.ok) throw new Error(await response.text())
      const [{ message, finish_reason: reason }] = ((await response.json()) as Reply).choices
      if (reason === 'length') continue
      whole += 1
      if (isValid(message.content, schema)) valid += 1
    }
  } finally {
    await stop(server)
  }
  const note = `of ${whole} that ended by themselves, of ${ANSWERS}, at temperature 1`
  return { json_valid: { value: valid, target: String(whole), unit: 'answers', note } }
}

function isValid(text: string, schema: object): boolean {
  try {
    return z.fromJSONSchema(schema as Parameters<typeof z.fromJSONSchema>[0]).safeParse(JSON.parse(text))
      .success
  } catch {
    return false
  }
}
