/**
 * Colours for code: comments, strings, numbers and keywords, by families of languages. Not a parser: what it takes for
 * something else is still there to be read.
 */

export type CodeKind = 'plain' | 'comment' | 'string' | 'number' | 'keyword' | 'name'

export interface CodePart {
  readonly kind: CodeKind
  readonly text: string
  /** Where it begins. */
  readonly at: number
}

/** In characters: longer code is shown plain. */
const MAX_CODE = 50_000

const C_WORDS =
  'abstract as async await bool boolean break case catch char class const constexpr continue crate debugger def default defer delete do double dyn else enum export extends extern false final finally float fn for foreach from func function go goto if impl implements import in instanceof int interface internal is let long loop match mod module move mut namespace new nil null nullptr object of operator out override package private protected pub public readonly ref return self short signed sizeof static string struct super switch template this throw throws trait true try type typedef typeof undefined union unsafe unsigned use using val var virtual void volatile when where while with yield'
const SCRIPT_WORDS =
  'and as assert async await begin break case class continue def del do done echo elif else elsif end ensure esac except exit export False false fi finally for from function global if import in is lambda let local module next nil None nonlocal not null or pass raise redo rescue return self set source then True true try unless until when while with yield'
const SQL_WORDS =
  'select from where and or not null insert into values update set delete create table index view drop alter add primary key foreign references join left right inner outer full on as group by order having limit offset distinct union all case when then else end in exists between like is asc desc with returning begin commit rollback default unique'

const STRINGS = String.raw`"(?:\\.|[^"\\\n])*"?|'(?:\\.|[^'\\\n])*'?`
const NUMBER = String.raw`\b(?:0[xXbBoO][\da-fA-F_]+|\d[\d_]*(?:\.\d+)?(?:[eE][+-]?\d+)?)\w?\b`

interface Family {
  readonly pattern: RegExp
  readonly words: ReadonlySet<string>
}

function family(comments: string, strings: string, words: string, flags = ''): Family {
  const source = `(?<comment>${comments})|(?<string>${strings})|(?<number>${NUMBER})|(?<word>[\\p{L}_$@][\\p{L}\\p{N}_$]*)`
  return { pattern: new RegExp(source, `gu${flags}`), words: new Set(words.split(' ')) }
}

const C = family(
  String.raw`\/\/[^\n]*|\/\*[\s\S]*?(?:\*\/|$)`,
  String.raw`${STRINGS}|\x60(?:\\.|[^\x60\\])*\x60?`,
  C_WORDS
)
const SCRIPT = family(
  '#[^\\n]*',
  String.raw`"""[\s\S]*?(?:"""|$)|'''[\s\S]*?(?:'''|$)|${STRINGS}`,
  SCRIPT_WORDS
)
const SQL = family(String.raw`--[^\n]*|\/\*[\s\S]*?(?:\*\/|$)`, STRINGS, SQL_WORDS)
const MARKUP = family(String.raw`<!--[\s\S]*?(?:-->|$)`, STRINGS, '')
const DATA = family(String.raw`[#;][^\n]*`, STRINGS, 'true false null yes no on off')

const LANGUAGES: readonly (readonly [string, Family])[] = [
  [
    'c cpp c++ cs csharp css dart go java javascript js json json5 jsonc jsx kotlin kt less php rs rust scala scss swift ts tsx typescript zig',
    C
  ],
  [
    'bash elixir fish julia make makefile perl powershell ps1 py python r rb ruby sh shell zsh dockerfile',
    SCRIPT
  ],
  ['sql postgres postgresql mysql sqlite lua haskell', SQL],
  ['html xml svg vue svelte', MARKUP],
  ['toml yaml yml ini conf env', DATA]
]
const FAMILIES = new Map(
  LANGUAGES.flatMap(([names, each]) => names.split(' ').map((name) => [name, each] as const))
)

/** One part, where the language is not known. */
export function highlight(code: string, language: string): readonly CodePart[] {
  const found = FAMILIES.get(language.toLowerCase())
  if (found === undefined || code.length > MAX_CODE) return [{ kind: 'plain', text: code, at: 0 }]
  const parts: CodePart[] = []
  let at = 0
  for (const match of code.matchAll(found.pattern)) {
    const kind = kindOf(match, found, code)
    if (kind === undefined) continue
    if (match.index > at) parts.push({ kind: 'plain', text: code.slice(at, match.index), at })
    parts.push({ kind, text: match[0], at: match.index })
    at = match.index + match[0].length
  }
  if (at < code.length) parts.push({ kind: 'plain', text: code.slice(at), at })
  return parts
}

function kindOf(match: RegExpExecArray, { words }: Family, code: string): CodeKind | undefined {
  const { comment, string, number } = match.groups ?? {}
  if (comment !== undefined) return 'comment'
  if (string !== undefined) return 'string'
  if (number !== undefined) return 'number'
  const [word] = match
  if (words.has(word) || (words.has('select') && words.has(word.toLowerCase()))) return 'keyword'
  return code[match.index + word.length] === '(' ? 'name' : undefined
}
