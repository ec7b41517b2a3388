/** Whether a small model may write ahead for another: their token ids have to mean the same. */
import type { Metadata, Scalar } from '../gguf/index.ts'

/** ggml's type of tokens that fill a vocabulary up, and which nothing is ever written with. */
const UNUSED = 5
/** Where either names one, it has to be the same. */
const SPECIALS = ['bos_token_id', 'eos_token_id', 'eot_token_id']

/** Tokens that a model has, padding included. */
export function vocabularySize(metadata: Metadata): number {
  return list(metadata, 'tokens').length
}

/**
 * Why the draft's ids mean something else than the model's, in plain words; undefined: they mean the same. One of both
 * may be padded to more ids. What text is cut into does not matter: only ids are ever given to a draft.
 */
export function misfit(model: Metadata, draft: Metadata): string | undefined {
  const [tokens, others] = [list(model, 'tokens'), list(draft, 'tokens')]
  if (tokens.length === 0 || others.length === 0) return 'one of them has no vocabulary'
  const [kind, otherKind] = [model, draft].map((metadata) => metadata.get('tokenizer.ggml.model')?.value)
  if (kind !== otherKind) return `its vocabulary is of the kind ${shown(otherKind)} and not ${shown(kind)}`
  const [types, otherTypes] = [list(model, 'token_type'), list(draft, 'token_type')]
  const common = Math.min(tokens.length, others.length)
  for (let id = 0; id < common; id++) {
    if (tokens[id] === others[id] || types[id] === UNUSED || otherTypes[id] === UNUSED) continue
    return `token ${id} is ${shown(others[id])} there and not ${shown(tokens[id])}`
  }
  for (const key of SPECIALS) {
    const [id, other] = [model, draft].map((metadata) => metadata.get(`tokenizer.ggml.${key}`)?.value)
    if (id !== undefined && other !== undefined && Number(id) !== Number(other))
      return `its ${key} is ${other} and not ${id}`
  }
  return undefined
}

function list(metadata: Metadata, key: string): readonly Scalar[] {
  const value = metadata.get(`tokenizer.ggml.${key}`)?.value
  return Array.isArray(value) ? value : []
}

/** Strangers may have named it. */
function shown(value: unknown): string {
  return JSON.stringify(String(value).slice(0, 40).replace(/\p{C}/gu, '?'))
}
