import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { Constraint, type Cursor, type TokenTable } from './constraint.ts'

const END = 256

/** All bytes, an end, then these texts. */
function tableOf(texts: readonly string[] = []): TokenTable {
  const single = Array.from({ length: 256 }, (_, byte) => Uint8Array.of(byte))
  const pieces = [...single, new Uint8Array(), ...texts.map((text) => new TextEncoder().encode(text))]
  const offsets = new Int32Array(pieces.length + 1)
  for (const [token, piece] of pieces.entries())
    offsets[token + 1] = (offsets[token] as number) + piece.length
  return { bytes: Uint8Array.from(pieces.flatMap((piece) => [...piece])), offsets, ends: new Set([END]) }
}

function feed(
  constraint: Constraint,
  tokens: Iterable<number>,
  from: Cursor = constraint.start
): Cursor | undefined {
  let cursor: Cursor | undefined = from
  constraint.beginDraw()
  for (const token of tokens) if (cursor !== undefined) cursor = constraint.next(cursor, token)
  return cursor
}

const bytesOf = (text: string): Uint8Array => new TextEncoder().encode(text)

/** Whether the whole text is one of the grammar's. */
function matches(constraint: Constraint, text: string): boolean {
  return feed(constraint, [...bytesOf(text), END]) !== undefined
}

function allowed(constraint: Constraint, cursor: Cursor): string {
  const mask = constraint.mask(cursor)
  return [...mask.keys()]
    .filter((token) => mask[token] === 1 && token < 256)
    .map((token) => String.fromCharCode(token))
    .join('')
}

describe('a grammar allows what the same regular expression does', () => {
  const cases: [string, RegExp][] = [
    ['root ::= "a" | "b" "c"', /^(a|bc)$/],
    ['root ::= ("a" | "b")* "c"', /^(a|b)*c$/],
    ['root ::= [a-c]{2,4}', /^[a-c]{2,4}$/],
    ['root ::= [^a-b]{2,}', /^[^a-b]{2,}$/],
    ['root ::= "a"{3}', /^a{3}$/],
    ['root ::= "a"{0} "b"', /^b$/],
    ['root ::= "ab"{2} "a"?', /^(ab){2}a?$/],
    ['root ::= ("a" "b"?)+ | ""', /^(ab?)*$/],
    ['root ::= . "é" [é-í] # a comment\n', /^.é[é-í]$/u],
    ['root ::= x "c"\nx ::= "a" y\ny ::= "b" | x', /^a+bc$/],
    ['root ::= "\\x61" [\\u00e9\\-\\]]?', /^a[é\-\]]?$/],
    ['root ::= (\n  "a"\n  | "b"\n)\n\n', /^[ab]$/]
  ]
  test.each(cases)('%s', (grammar, expression) => {
    const constraint = new Constraint(tableOf(), grammar, [])
    const text = fc.string({ unit: fc.constantFrom('a', 'b', 'c', 'd', 'é', 'ì', '-', ']'), maxLength: 6 })
    let found = 0
    const property = fc.property(text, (value) => {
      const isMatch = expression.test(value)
      if (isMatch) found++
      expect(matches(constraint, value)).toBe(isMatch)
    })
    fc.assert(property, { seed: 1, numRuns: 4_000 })
    for (const known of ['a', 'b', 'bc', 'ac', 'abc', 'aaa', 'abab', 'cc', 'bé', 'aéì']) {
      expect(matches(constraint, known)).toBe(expression.test(known))
      if (expression.test(known)) found++
    }
    expect(found).toBeGreaterThan(0)
  })

  test('brackets within brackets, which no expression says', () => {
    const constraint = new Constraint(tableOf(), 'root ::= "(" root ")" | "x"', [])
    expect(matches(constraint, '(((x)))')).toBe(true)
    expect(matches(constraint, '(((x))')).toBe(false)
  })
})

describe('tokens', () => {
  test('of a mask are those that may come next', () => {
    const texts = ['ab', 'abc', 'é', 'b"', 'a"x']
    const constraint = new Constraint(tableOf(texts), 'root ::= "\\"" [^"]{1,3} "\\""', [])
    const cursor = feed(constraint, bytesOf('"')) as Cursor
    const mask = constraint.mask(cursor)
    for (let token = 0; token < mask.length; token++) {
      expect(mask[token] === 1).toBe(constraint.next(cursor, token) !== undefined)
    }
    expect(texts.map((_, index) => mask[END + 1 + index])).toEqual([1, 1, 1, 1, 0])
    expect(mask[END]).toBe(0)
  })

  test('may be parts of characters, where some such character is allowed', () => {
    const constraint = new Constraint(tableOf(), 'root ::= "é" | "日" | [\\U0001F600-\\U0001F64F]', [])
    expect(allowed(constraint, constraint.start)).toBe('\xc3\xe6\xf0')
    expect(allowed(constraint, feed(constraint, [0xc3]) as Cursor)).toBe('\xa9')
    expect(allowed(constraint, feed(constraint, [0xf0, 0x9f]) as Cursor)).toBe('\x98\x99')
    const any = new Constraint(tableOf(), 'root ::= .*', [])
    expect(feed(any, [0xc0, 0x80])).toBeUndefined() // not UTF-8
    expect(feed(any, [0xe0, 0x80])).toBeUndefined()
    expect(feed(any, [0xed, 0xa0])).toBeUndefined()
    expect(feed(any, [0xf4, 0x90])).toBeUndefined()
    expect(feed(any, [0])).toBeUndefined()
    expect(feed(any, [0xe3, END])).toBeUndefined()
  })

  test('that end an answer come when the text may end, and change nothing', () => {
    const constraint = new Constraint(tableOf(), 'root ::= "ab"', [])
    expect(matches(constraint, 'a')).toBe(false)
    const ended = feed(constraint, [...bytesOf('ab'), END, END]) as Cursor
    expect(allowed(constraint, ended)).toBe('')
    expect(constraint.mask(ended)[END]).toBe(1)
  })
})

describe('a grammar that waits for its trigger', () => {
  const texts = ['x<call>', 'call>1', 'call>a', '>12', '><']
  const [xCall, callOne, callA, twelve] = texts.map((_, index) => END + 1 + index)
  const constraint = new Constraint(tableOf(texts), 'root ::= "<call>" [0-9]+ "</call>"', [
    '<call>',
    '<tool>'
  ])

  test('allows everything until it has come, then what the grammar allows from its beginning', () => {
    const before = feed(constraint, bytesOf('é is <call')) as Cursor
    expect(allowed(constraint, before)).toHaveLength(256)
    expect(constraint.mask(before)[END]).toBe(1)
    expect(allowed(constraint, feed(constraint, bytesOf('>'), before) as Cursor)).toBe('0123456789')
    expect(matches(constraint, 'no call at all')).toBe(true)
    expect(matches(constraint, 'text <call>12</call>')).toBe(true)
    expect(matches(constraint, 'text <call>12</call> and more')).toBe(false)
  })

  test('finds it wherever tokens are cut', () => {
    expect(allowed(constraint, feed(constraint, [xCall as number]) as Cursor)).toBe('0123456789')
    expect(allowed(constraint, feed(constraint, [...bytesOf('a<'), callOne as number]) as Cursor)).toBe(
      '/0123456789<'.slice(1)
    )
  })

  test('refuses a token that goes on with what the grammar does not allow', () => {
    const begun = feed(constraint, bytesOf('<')) as Cursor
    expect(constraint.next(begun, callA as number)).toBeUndefined()
    expect(constraint.mask(begun)[callA as number]).toBe(0)
    expect(constraint.mask(begun)[callOne as number]).toBe(1)
    const nearly = feed(constraint, bytesOf('<call')) as Cursor
    expect(constraint.mask(nearly)[twelve as number]).toBe(1)
    // A trigger that is none of the grammar's beginnings.
    expect(feed(constraint, bytesOf('<tool>'))).toBeUndefined()
  })

  test('forgets what has come, but for the beginning of a trigger', () => {
    const long = feed(constraint, bytesOf('a'.repeat(1_000))) as Cursor
    expect(long.tail.length).toBe('<call>'.length - 1)
  })
})

describe('what strangers make up', () => {
  const hostile: [string, string][] = [
    ['stacks that double with each character', 'root ::= s\ns ::= [x-y] s "a" | [x-y] s "b" | [x-y]'],
    [
      'rules that begin alike',
      `root ::= r0\n${Array.from({ length: 60 }, (_, rule) => `r${rule} ::= r${rule + 1} "a" | r${rule + 1} "b"`).join('\n')}\nr60 ::= "x"`
    ],
    [
      'ranges without number',
      `root ::= [${Array.from({ length: 20_000 }, (_, index) => String.fromCodePoint(0x4e00 + index)).join('')}]{40}`
    ]
  ]
  test.each(hostile)('%s end in an error, or in time', (_, grammar) => {
    const started = performance.now()
    const attempt = (): unknown => {
      const constraint = new Constraint(tableOf(['x'.repeat(64)]), grammar, [])
      for (let time = 0; time < 20; time++) {
        constraint.beginDraw()
        constraint.mask(constraint.start)
        feed(constraint, [...bytesOf('x'.repeat(40))])
      }
      return undefined
    }
    try {
      attempt()
    } catch (error) {
      expect(error).toMatchObject({ code: 'INPUT', message: expect.stringMatching(/too many ways/) })
    }
    expect(performance.now() - started).toBeLessThan(5_000)
  })

  test('any text is a grammar or an error INPUT', () => {
    const part = fc.constantFrom(
      ...[
        'root',
        '::=',
        'a',
        '"b"',
        '[a-z]',
        '(',
        ')',
        '|',
        '*',
        '+',
        '?',
        '{1,3}',
        '{2}',
        '\n',
        ' ',
        '"',
        '[',
        '^',
        '.',
        '\\',
        '#',
        '-',
        '{9,',
        '\0'
      ]
    )
    let grammars = 0
    const property = fc.property(fc.array(part, { maxLength: 20 }), fc.boolean(), (parts, hasRoot) => {
      const text = `${hasRoot ? 'root ::= ' : ''}${parts.join(' ')}`
      try {
        const constraint = new Constraint(tableOf(), text, [])
        feed(constraint, bytesOf('abcb'))
        grammars++
      } catch (error) {
        expect(error).toMatchObject({ code: 'INPUT' })
      }
    })
    fc.assert(property, { seed: 2, numRuns: 5_000 })
    expect(grammars).toBeGreaterThan(100)
  })
})
