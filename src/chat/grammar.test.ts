import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import * as z from 'zod'
import type { JsonSchema } from './contract.ts'
import { AnswerError } from './errors.ts'
import { grammarOf, jsonGrammar } from './grammar.ts'
import { Gbnf, seeded } from './testing.ts'

/** Values drawn from a schema's grammar, each checked by zod's own reading of the schema. */
function drawn(schema: JsonSchema, count = 60): unknown[] {
  const grammar = new Gbnf(grammarOf(schema))
  const checker = z.fromJSONSchema(schema as Parameters<typeof z.fromJSONSchema>[0])
  return Array.from({ length: count }, (_, index) => {
    const text = grammar.sample(seeded(index))
    const value: unknown = JSON.parse(text)
    const { success, error } = checker.safeParse(value)
    if (!success) throw new Error(`${text} does not follow ${JSON.stringify(schema)}: ${error}`)
    return value
  })
}

function object(properties: JsonSchema, rest: JsonSchema = {}): JsonSchema {
  return {
    type: 'object',
    properties,
    required: Object.keys(properties),
    additionalProperties: false,
    ...rest
  }
}

describe('what is drawn follows the schema', () => {
  test.each<[string, JsonSchema]>([
    ['nothing said', {}],
    [
      'scalars',
      object({ a: { type: 'string' }, b: { type: 'integer' }, c: { type: 'number' }, d: { type: 'boolean' } })
    ],
    ['null', object({ a: { type: 'null' } })],
    ['several types', object({ a: { type: ['string', 'null'] } })],
    ['enum', object({ a: { enum: ['x', 'y"\\\n', 1, null, true] } })],
    ['enum of a type', object({ a: { type: 'string', enum: ['x', 'y'] } })],
    ['const', object({ a: { const: 'é€' } })],
    [
      'optional ones',
      object({ a: { type: 'null' }, b: { type: 'null' }, c: { type: 'null' } }, { required: ['b'] })
    ],
    ['only optional ones', object({ a: { type: 'null' }, b: { type: 'null' } }, { required: [] })],
    ['names to be escaped', object({ 'a"b\\\n': { type: 'null' }, é: { type: 'null' } })],
    ['a map', { type: 'object', additionalProperties: { type: 'integer' } }],
    [
      'names beside a map',
      object(
        { id: { type: 'string' }, ids: { type: 'string' } },
        { additionalProperties: { type: 'integer' } }
      )
    ],
    ['arrays', object({ a: { type: 'array', items: { type: 'integer' } } })],
    ['arrays of a length', { type: 'array', items: { type: 'null' }, minItems: 2, maxItems: 4 }],
    ['empty arrays', { type: 'array', items: { type: 'null' }, maxItems: 0 }],
    [
      'tuples',
      {
        type: 'array',
        prefixItems: [{ type: 'string' }, { type: 'integer' }],
        items: false,
        minItems: 2,
        maxItems: 2
      }
    ],
    [
      'tuples that go on',
      { type: 'array', prefixItems: [{ type: 'string' }], items: { type: 'integer' }, minItems: 3 }
    ],
    ['texts of a length', object({ a: { type: 'string', minLength: 3, maxLength: 5 } })],
    ['long texts', { type: 'string', minLength: 700, maxLength: 900 }],
    ['any of', object({ a: { anyOf: [{ type: 'string' }, object({ b: { type: 'integer' } })] } })],
    [
      'one of, told apart by a property',
      { oneOf: [object({ kind: { const: 'a' } }), object({ kind: { const: 'b' }, more: { type: 'null' } })] }
    ],
    [
      'all of',
      {
        allOf: [
          { type: 'object', properties: { a: { type: 'integer', minimum: 3 } }, required: ['a'] },
          {
            type: 'object',
            properties: { a: { type: 'integer', maximum: 5 }, b: { type: 'null' } },
            required: ['b']
          }
        ]
      }
    ],
    [
      'references',
      {
        $defs: { leaf: object({ a: { type: 'null' } }) },
        ...object({ x: { $ref: '#/$defs/leaf' }, y: { $ref: '#/$defs/leaf', description: 'y' } })
      }
    ],
    [
      'a tree',
      {
        $defs: {
          node: object({
            value: { type: 'integer' },
            children: { type: 'array', items: { $ref: '#/$defs/node' } }
          })
        },
        $ref: '#/$defs/node'
      }
    ],
    [
      'a list',
      {
        $defs: { node: object({ next: { anyOf: [{ type: 'null' }, { $ref: '#/$defs/node' }] } }) },
        $ref: '#/$defs/node'
      }
    ],
    ['patterns', object({ a: { type: 'string', pattern: '^[A-Z]{2,3}-\\d+(x|yz)?$' } })],
    ['patterns with escapes', { type: 'string', pattern: '^["\\\\\\n\\t]{1,3}[^a-z"]+$' }],
    ['patterns anywhere', { type: 'string', pattern: 'abc|^x' }],
    ['patterns of a length', { type: 'string', pattern: '^[a-z]+$', minLength: 2, maxLength: 4 }],
    ['multiples in bounds', { type: 'integer', minimum: 1, maximum: 20, multipleOf: 5 }]
  ])('%s', (_, schema) => {
    expect(new Set(drawn(schema).map((value) => JSON.stringify(value))).size).toBeGreaterThan(0)
  })

  test.each(['date', 'time', 'date-time', 'duration', 'uuid', 'ipv4', 'ipv6', 'email', 'uri'])(
    'format %s',
    (format) => {
      expect(new Set(drawn({ type: 'string', format }, 300)).size).toBeGreaterThan(20)
    }
  )

  test('nullable, as OpenAPI has it', () => {
    const grammar = new Gbnf(grammarOf({ type: 'boolean', nullable: true }))
    const texts = Array.from({ length: 50 }, (_, seed) => grammar.sample(seeded(seed)))
    expect(new Set(texts)).toEqual(new Set(['true', 'false', 'null']))
  })

  test('any JSON object, and never deeper than twelve', () => {
    const grammar = new Gbnf(jsonGrammar)
    for (let seed = 0; seed < 200; seed++) {
      const text = grammar.sample(seeded(seed), 400)
      expect(JSON.parse(text)).toBeTypeOf('object')
      expect(text.trim().startsWith('{')).toBe(true)
    }
  })
})

const bound = fc.oneof(
  fc.integer({ min: -1200, max: 1200 }),
  fc.integer({ min: -50_000, max: 50_000 }).map((value) => value / 1000)
)

describe('numbers', () => {
  test('stay in any bounds, whole and not', () => {
    const bounds = fc.record(
      { minimum: bound, maximum: bound, exclusiveMinimum: bound, exclusiveMaximum: bound },
      { requiredKeys: [] }
    )
    fc.assert(
      fc.property(bounds, fc.constantFrom('integer', 'number'), fc.nat(), (limits, type, seed) => {
        const low = Math.max(limits.minimum ?? -Infinity, limits.exclusiveMinimum ?? -Infinity)
        const high = Math.min(limits.maximum ?? Infinity, limits.exclusiveMaximum ?? Infinity)
        let source: string
        try {
          source = grammarOf({ type, ...limits })
        } catch (error) {
          expect(error).toBeInstanceOf(AnswerError)
          // Only where there is (next to) nothing between the bounds.
          expect(type === 'integer' ? Math.floor(high) - Math.ceil(low) <= 0 : high - low <= 0.001).toBe(true)
          return
        }
        const grammar = new Gbnf(source)
        for (let draw = 0; draw < 20; draw++) {
          const value = JSON.parse(grammar.sample(seeded(seed + draw))) as number
          if (type === 'integer') expect(Number.isSafeInteger(value)).toBe(true)
          expect(value).toBeGreaterThanOrEqual(limits.minimum ?? -Infinity)
          expect(value).toBeLessThanOrEqual(limits.maximum ?? Infinity)
          if (limits.exclusiveMinimum !== undefined) expect(value).toBeGreaterThan(limits.exclusiveMinimum)
          if (limits.exclusiveMaximum !== undefined) expect(value).toBeLessThan(limits.exclusiveMaximum)
        }
      }),
      { seed: 1, numRuns: 400 }
    )
  })

  test('reach all that lies between', () => {
    const grammar = new Gbnf(grammarOf({ type: 'integer', minimum: -12, maximum: 103 }))
    const values = new Set(Array.from({ length: 4_000 }, (_, seed) => Number(grammar.sample(seeded(seed)))))
    for (const value of [-12, -10, -9, -1, 0, 1, 9, 10, 99, 100, 103]) expect(values).toContain(value)
    expect(Math.min(...values)).toBe(-12)
    expect(Math.max(...values)).toBe(103)
  })

  test.each([
    [{ type: 'number', exclusiveMinimum: 0 }, 'a price'],
    [{ type: 'number', minimum: 0, maximum: 1 }, 'a probability'],
    [{ type: 'integer', maximum: 2 ** 63 }, 'a bound beyond what doubles count'],
    [{ type: 'number', minimum: 0.25, maximum: 0.75 }, 'a fraction']
  ] as [JsonSchema, string][])('%j: %s', (schema) => {
    expect(new Set(drawn(schema, 200)).size).toBeGreaterThan(20)
  })
})

test('schemas of any shape give what they say', () => {
  const leaf = fc.oneof(
    fc.constantFrom<JsonSchema>(
      { type: 'boolean' },
      { type: 'null' },
      { type: 'string' },
      { type: 'number' }
    ),
    fc.record({
      type: fc.constant('integer'),
      minimum: fc.integer({ min: -99, max: 0 }),
      maximum: fc.integer({ min: 1, max: 9999 })
    }),
    fc.record({
      type: fc.constant('string'),
      minLength: fc.nat(3),
      maxLength: fc.integer({ min: 3, max: 9 })
    }),
    fc.record({ enum: fc.uniqueArray(fc.oneof(fc.string(), fc.integer()), { minLength: 1, maxLength: 5 }) })
  ) as fc.Arbitrary<JsonSchema>
  const { schema } = fc.letrec<{ schema: JsonSchema }>((tie) => ({
    schema: fc.oneof(
      { maxDepth: 4, withCrossShrink: true },
      leaf,
      fc.record({
        type: fc.constant('array'),
        items: tie('schema'),
        maxItems: fc.integer({ min: 1, max: 5 })
      }),
      fc.array(tie('schema'), { minLength: 1, maxLength: 3 }).map((anyOf): JsonSchema => ({ anyOf })),
      fc
        .tuple(
          fc.dictionary(
            fc.string({ maxLength: 5 }).filter((name) => name !== '__proto__'),
            tie('schema'),
            { maxKeys: 4 }
          ),
          fc.nat()
        )
        .map(([properties, pick]): JsonSchema => {
          const required = Object.keys(properties).filter((_, index) => (pick >> index) % 2 === 0)
          return {
            type: 'object',
            properties,
            required,
            additionalProperties: pick % 3 === 0 ? { type: 'null' } : false
          }
        })
    )
  }))
  fc.assert(
    fc.property(schema, (any) => void drawn(any, 8)),
    { seed: 2, numRuns: 300 }
  )
})

/** Each level is looked at twice for the one above it. */
function nestedChoices(depth: number): JsonSchema {
  const $defs: Record<string, JsonSchema> = { level0: { const: 1 } }
  for (let level = 1; level <= depth; level++) {
    const inner = { $ref: `#/$defs/level${level - 1}` }
    $defs[`level${level}`] = { oneOf: [object({ a: inner }), object({ a: inner, b: inner })] }
  }
  return { $defs, $ref: `#/$defs/level${depth}` }
}

describe('what can not be promised is refused', () => {
  const loop: JsonSchema = { $defs: { a: { $ref: '#/$defs/a' } }, $ref: '#/$defs/a' }
  const ways = { anyOf: Array.from({ length: 20 }, (_, index) => ({ const: index })) }
  test.each<[string, JsonSchema, RegExp]>([
    ['not', { not: { type: 'string' } }, /"not"/],
    ['if', object({ a: { if: {} } }), /"if"/],
    ['patternProperties', { type: 'object', patternProperties: { a: {} } }, /patternProperties/],
    ['uniqueItems', { type: 'array', uniqueItems: true }, /uniqueItems/],
    ['an unknown format', { type: 'string', format: 'iban' }, /"iban"/],
    ['a pattern that looks ahead', { type: 'string', pattern: '^(?=a)b$' }, /looks around/],
    ['a pattern that refers back', { type: 'string', pattern: '^(a)\\1$' }, /not known/],
    ['a pattern that repeats nothing', { type: 'string', pattern: '^(a?b*)*$' }, /nothing/],
    [
      'a tuple and a list at once',
      { allOf: [{ prefixItems: [{}] }, { items: { type: 'null' } }] },
      /prefixItems/
    ],
    [
      'a long name',
      { type: 'object', properties: { ['a'.repeat(1e5)]: {} }, additionalProperties: { type: 'null' } },
      /long a name/
    ],
    ['choices in choices', nestedChoices(40), /too many|too deep/],
    ['a pattern of another length', { type: 'string', pattern: '^(ab)+$', minLength: 3 }, /minLength/],
    ['multiples without end', { type: 'integer', multipleOf: 7 }, /multipleOf/],
    ['oneOf that overlaps', { oneOf: [{ type: 'number' }, { type: 'integer' }] }, /oneOf/],
    ['an unknown type', { type: 'text' }, /"text"/],
    ['a reference elsewhere', { $ref: 'https://example.com/a' }, /pointer/],
    ['a reference to nothing', { $ref: '#/$defs/b' }, /nowhere/],
    ['a reference to itself', loop, /itself/],
    ['a reference into a prototype', { $ref: '#/constructor' }, /nowhere/],
    ['contradictions', { allOf: [{ type: 'string' }, { type: 'integer' }] }, /no value/],
    ['a value without end', object({ a: { $ref: '#' } }), /finite/],
    ['combinations without end', { allOf: [ways, ways, ways] }, /combinations/],
    ['wrong bounds', { type: 'integer', minimum: '3' }, /minimum/],
    ['wrong counts', { type: 'string', maxLength: -1 }, /maxLength/],
    ['no schema', object({ a: 5 as unknown as JsonSchema }), /belongs/],
    [
      'too much',
      object(
        Object.fromEntries(
          Array.from({ length: 6_000 }, (_, index) => [`property-${index}`, { const: index }])
        )
      ),
      /too large/
    ]
  ])('%s', (_, schema, message) => {
    const refused = expect.objectContaining({
      code: 'INPUT',
      data: { field: 'format' },
      message: expect.stringMatching(message)
    })
    expect(() => grammarOf(schema)).toThrow(refused)
  })

  test('anything else that is no schema', () => {
    fc.assert(
      fc.property(
        fc.jsonValue({ maxDepth: 4 }),
        fc.constantFrom(
          'type',
          'properties',
          'anyOf',
          'items',
          'enum',
          'required',
          '$ref',
          'pattern',
          'prefixItems',
          'oneOf',
          'allOf'
        ),
        (value, keyword) => {
          try {
            new Gbnf(grammarOf({ [keyword]: value }))
          } catch (error) {
            expect(error).toBeInstanceOf(AnswerError)
          }
        }
      ),
      { seed: 3, numRuns: 2_000 }
    )
  })
})
