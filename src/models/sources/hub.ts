/** Which files a name on the hub means: the API lists them, their names say which quantization they are. */
import { z } from 'zod'
import { ShoalError } from '../../common/index.ts'
import { splitPartNames } from '../../gguf/index.ts'
import { type HubName, hubNameText } from '../names/hub-name.ts'
import { similar } from '../names/similar.ts'
import { SourceError } from './errors.ts'
import { type HttpClient, httpUrl, nameOf } from './http.ts'

/** One file of a model. */
export interface RemotePart {
  readonly url: string
  readonly bytes: number
}

/** What is taken where no quantization is named: small, and nobody notices much of it. */
const USUAL_QUANT = 'Q4_K_M'
/** Ten thousands of files make no model. */
const MAX_PAGES = 20
const MAX_PAGE_BYTES = 8 * 1024 * 1024
/** As in `Llama-3.2-1B-Instruct-Q4_K_M`, `model.i1-IQ2_XS`, `Qwen3-8B-UD-Q4_K_XL`, `gpt-oss-20b-mxfp4`. */
const QUANT = /(?:^|[-_.])((?:UD-)?(?:I?Q\d(?:_[A-Z0-9]+)*|TQ\d_\d|B?F16|FP?16|FP?32|MXFP4(?:_MOE)?))$/i
/** Parts that the quantization comes with, and that are no model. */
const OTHER = /(?:^|[-_./])(?:mmproj|imatrix)/i

const entrySchema = z.object({
  type: z.string().max(64),
  path: z.string().min(1).max(1_024),
  size: z.int().min(0).optional()
})
const pageSchema = z.array(entrySchema).max(100_000)

/** A model of a repository: one file, or all parts of one. */
interface Candidate {
  /** Of the only file, or the first. */
  readonly path: string
  readonly quant: string | undefined
  readonly files: readonly { readonly path: string; readonly size: number }[]
}

/**
 * The files of a model, in order. Throws a ShoalError NAME that says what there is where the name means none of it, or
 * several; a SourceError where the hub gives no answer.
 */
export async function locateOnHub(
  http: HttpClient,
  name: HubName,
  signal?: AbortSignal
): Promise<RemotePart[]> {
  const { repository, revision } = name
  const root = `${http.endpoint.href.replace(/\/$/, '')}`
  const tree = `${root}/api/models/${repository}/tree/${encodeURIComponent(revision)}?recursive=true`
  const files = await listFiles(http, httpUrl(tree), signal)
  return choose(candidatesOf(files), name).files.map(({ path, size }) => {
    const segments = path.split('/').map(encodeURIComponent).join('/')
    return { url: `${root}/${repository}/resolve/${encodeURIComponent(revision)}/${segments}`, bytes: size }
  })
}

async function listFiles(
  http: HttpClient,
  first: URL,
  signal: AbortSignal | undefined
): Promise<z.infer<typeof pageSchema>> {
  const entries: z.infer<typeof pageSchema> = []
  let next: URL | undefined = first
  for (let page = 0; next !== undefined; page++) {
    if (page === MAX_PAGES) throw new SourceError('ANSWER', `${nameOf(first)} lists files without an end.`)
    const { text, link } = await fetchText(http, next, signal)
    const parsed = pageSchema.safeParse(jsonOf(text))
    if (!parsed.success) {
      const [issue] = parsed.error.issues
      const where = issue === undefined ? '' : ` (${issue.path.join('.')}: ${issue.message})`
      throw new SourceError('ANSWER', `${nameOf(first)} gives no list of files${where}: is it the hub?`)
    }
    entries.push(...parsed.data)
    const following = /<([^<>]+)>\s*;\s*rel="?next"?/.exec(link)?.[1]
    next = following === undefined ? undefined : httpUrl(following, next)
  }
  return entries
}

async function fetchText(
  http: HttpClient,
  url: URL,
  signal: AbortSignal | undefined
): Promise<{ text: string; link: string }> {
  const retries = http.retries(signal)
  for (;;) {
    try {
      const answer = await http.get(url, { accept: 'application/json' }, signal)
      if (answer.status !== 200) {
        await answer.drop()
        throw http.failure(answer, url)
      }
      const chunks: Uint8Array[] = []
      let length = 0
      for await (const bytes of answer.body) {
        length += bytes.byteLength
        if (length > MAX_PAGE_BYTES) throw new SourceError('ANSWER', `${nameOf(url)} answers without an end.`)
        chunks.push(bytes)
      }
      return { text: Buffer.concat(chunks).toString(), link: answer.headers.get('link') ?? '' }
    } catch (error) {
      await retries.after(error)
    }
  }
}

function jsonOf(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}

/** Only whole ones: an upload may be under way. */
function candidatesOf(entries: z.infer<typeof pageSchema>): Candidate[] {
  const sizes = new Map<string, number>()
  for (const { type, path, size } of entries) {
    const isModel = type === 'file' && /\.gguf$/i.test(path) && !OTHER.test(path)
    if (isModel && size !== undefined && !`/${path}/`.includes('/../')) sizes.set(path, size)
  }
  const candidates: Candidate[] = []
  for (const path of sizes.keys()) {
    const names = splitPartNames(path)
    if (names[0] !== path || names.some((part) => !sizes.has(part))) continue
    const stem = path.replace(/^.*\//s, '').replace(/(?:-\d{5}-of-\d{5})?\.gguf$/i, '')
    const files = names.map((part) => ({ path: part, size: sizes.get(part) ?? 0 }))
    candidates.push({ path, quant: QUANT.exec(stem)?.[1]?.toUpperCase(), files })
  }
  return candidates
}

function choose(candidates: readonly Candidate[], name: HubName): Candidate {
  const { repository, quant, file } = name
  if (candidates.length === 0) {
    throw new ShoalError(
      'NAME',
      `hf:${repository} has no GGUF files: look for a repository of the model's that does.`
    )
  }
  if (file !== undefined) {
    const found = candidates.find(({ files }) => files.some(({ path }) => path === file))
    if (found !== undefined) return found
    const paths = candidates.map(({ path }) => path)
    throw missing(name, file, paths, similar(file, paths))
  }
  const quants = [...new Set(candidates.flatMap((candidate) => candidate.quant ?? []))].sort()
  const wanted = quant?.toUpperCase() ?? (quants.includes(USUAL_QUANT) ? USUAL_QUANT : undefined)
  const found = wanted === undefined ? candidates : candidates.filter((each) => each.quant === wanted)
  const [only, ...others] = found
  if (only !== undefined && others.length === 0) return only
  if (only === undefined) throw missing(name, quant ?? '', quants, similar(quant ?? '', quants))
  const paths = found.slice(0, 8).map(({ path }) => hubNameText({ ...name, quant: undefined, file: path }))
  throw new ShoalError('NAME', `${hubNameText(name)} may be any of these, name one: ${paths.join(', ')}.`)
}

function missing(name: HubName, what: string, all: readonly string[], close: readonly string[]): ShoalError {
  const hint = close.length > 0 ? ` Did you mean ${close.join(' or ')}?` : ''
  const list = `${all.slice(0, 24).join(', ')}${all.length > 24 ? ', ...' : ''}`
  return new ShoalError('NAME', `hf:${name.repository} has no ${what}.${hint} It has ${list}.`)
}
