/** A request's body, parsed once. */
import type { Context } from 'hono'
import type { z } from 'zod'
import type { GatewayEnv } from '../env.ts'
import { GatewayError } from '../errors.ts'

/** Throws a GatewayError INPUT that names the first field that is wrong. */
export async function parseBody<T extends z.ZodType>(
  c: Context<GatewayEnv>,
  schema: T
): Promise<z.output<T>> {
  const result = schema.safeParse(readJson(await c.req.arrayBuffer()))
  if (result.success) return result.data
  const { path, message } = deepest(result.error.issues)
  const param = paramOf(path)
  throw new GatewayError('INPUT', param === '' ? message : `${param}: ${message}`, {
    ...(param && { param })
  })
}

function readJson(body: ArrayBuffer): unknown {
  try {
    return JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(body))
  } catch (error) {
    throw new GatewayError('INPUT', 'the body is not JSON in UTF-8', {}, { cause: error })
  }
}

interface Found {
  readonly path: readonly PropertyKey[]
  readonly message: string
}

/** Of a union's branches, the one that got furthest says what was meant. */
function deepest(issues: readonly z.core.$ZodIssue[]): Found {
  const [issue] = issues
  if (issue === undefined) return { path: [], message: 'not what was expected' }
  const branches = issue.code === 'invalid_union' ? issue.errors.map(deepest) : []
  const best = branches.toSorted((a, b) => b.path.length - a.path.length)[0]
  if (best === undefined || best.path.length === 0) return issue
  return { path: [...issue.path, ...best.path], message: best.message }
}

/** `messages[0].content`, as OpenAI's errors have it. */
export function paramOf(path: readonly PropertyKey[]): string {
  return path.reduce<string>((text, key) => {
    if (typeof key === 'number') return `${text}[${key}]`
    return text === '' ? String(key) : `${text}.${String(key)}`
  }, '')
}
