import { describe, expect, test } from 'vitest'
import { parseGbnf } from './gbnf.ts'

const DEEP = `root ::= ${'('.repeat(300)}"a"${')'.repeat(300)}`
/** Rules that begin alike: llama.cpp looks at 2^60 ways. */
const alike = Array.from({ length: 60 }, (_, rule) => `r${rule} ::= r${rule + 1} | r${rule + 1}`).join('\n')
/** 20,000 rules, each begun by the next. */
const long = Array.from({ length: 20_000 }, (_, rule) => `r${rule} ::= r${rule + 1}`).join('\n')

describe('what is no grammar is refused, and says where', () => {
  test.each([
    ['nothing', '', /no rule "root"/],
    ['another root', 'main ::= "a"', /no rule "root"/],
    ['an unknown rule', 'root ::= a', /no rule "a"/],
    ['no rule', 'root', /line 1: "::=" should come/],
    ['a second line that is none', 'root ::= "a"\n= "b"', /line 2: the name/],
    ['something after a rule', 'root ::= "a" )', /can not be read/],
    ['an open text', 'root ::= "a', /not closed/],
    ['an open class', 'root ::= [a-', /not closed/],
    ['an open group', 'root ::= ("a"', /"\)" should come/],
    ['an unknown escape', 'root ::= "\\q"', /no escape "\\q"/],
    ['half a number', 'root ::= "\\x4"', /2 hexadecimal digits/],
    ['a class of nothing', 'root ::= []', /without characters/],
    ['nothing to repeat', 'root ::= *', /nothing to repeat/],
    ['a repetition without an end', 'root ::= "a"{2', /"}" should come/],
    ['more at least than at most', 'root ::= "a"{5,2}', /at least 5 and at most 2/],
    ['a token', 'root ::= "a" <[290]>', /tokens can not be named/],
    ['any other token', 'root ::= !<end>', /tokens can not be named/],
    ['a hundred million times', 'root ::= "a"{1,100000000}', /over 200000 symbols/],
    ['as often as no number says', `root ::= "a"{${'9'.repeat(400)}}`, /over 200000 symbols/],
    ['many times many times', 'root ::= ((("a"{2000}) ("b"{2000})){120000}){120000}', /over 200000 symbols/],
    ['a name that is no rule, at the end', 'root ::= "a" |', undefined],
    ['left recursion', 'root ::= root "a" | "b"', /left recursion of "root"/],
    ['left recursion of two', 'root ::= a "x"\na ::= b | "y"\nb ::= a "z"', /left recursion/],
    [
      'left recursion behind what may be empty',
      'root ::= n root "b" | "a"\nn ::= e e\ne ::= ""',
      /left recursion/
    ],
    ['what may be empty, again and again', 'root ::= ("a"?)*', /left recursion/],
    ['depth', DEEP, /256 deep/]
  ])('%s', (_, text, message) => {
    if (message === undefined) expect(parseGbnf(text).rules).toHaveLength(1)
    else
      expect(() => parseGbnf(text)).toThrow(
        expect.objectContaining({ code: 'INPUT', message: expect.stringMatching(message) })
      )
  })
})

describe('what takes llama.cpp forever takes no time', () => {
  test.each([
    ['rules that begin alike', `root ::= r0\n${alike}\nr60 ::= "x"`],
    ['a long way down', `root ::= r0\n${long}\nr20000 ::= "x"`],
    ['a long text, often', `root ::= "${'x'.repeat(100_000)}"{2000}`]
  ])('%s', (_, text) => {
    expect(parseGbnf(text).rules.length).toBeGreaterThan(0)
  })
})
