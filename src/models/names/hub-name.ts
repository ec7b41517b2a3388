import { ShoalError } from '../../common/index.ts'

/** A model on the hub: what is meant, not yet which files. */
export interface HubName {
  /** `user/name` */
  readonly repository: string
  /** A branch, a tag or a commit. */
  readonly revision: string
  /** As in `Q4_K_M`; undefined: whatever suits, or `file`. */
  readonly quant: string | undefined
  /** A path in the repository. */
  readonly file: string | undefined
}

const PREFIX = 'hf:'
const WORD = String.raw`[A-Za-z0-9][\w.-]{0,95}`
const REPOSITORY = new RegExp(`^${WORD}/${WORD}$`)
const QUANT = /^[\w.-]{1,64}$/
const REVISION = /^[\w][\w./-]{0,255}$/
/** No control characters, and nothing that would end a path. */
const FILE = /^[^\p{Cc}?#%\\]{1,512}\.gguf$/iu

export function isHubName(text: string): boolean {
  return text.slice(0, PREFIX.length).toLowerCase() === PREFIX
}

/**
 * `hf:user/repo`, `hf:user/repo:QUANT`, `hf:user/repo/file.gguf`, each also with `@revision`.
 * Throws a ShoalError NAME.
 */
export function parseHubName(text: string): HubName {
  const [, path = '', revision = 'main'] = /^([^@]*)(?:@(.*))?$/s.exec(text.slice(PREFIX.length)) ?? []
  const [user = '', rest = '', ...folders] = path.split('/')
  const [name = '', quant] = folders.length > 0 ? [rest] : rest.split(/:(.*)/s, 2)
  const repository = `${user}/${name}`
  const file = folders.length > 0 ? folders.join('/') : undefined
  const isWrong =
    !isHubName(text) ||
    !REPOSITORY.test(repository) ||
    !REVISION.test(revision) ||
    `/${revision}/${file ?? ''}/`.includes('/../') ||
    (quant !== undefined && !QUANT.test(quant)) ||
    (file !== undefined && !FILE.test(file))
  if (isWrong) {
    const forms =
      'hf:user/repo, hf:user/repo:QUANT or hf:user/repo/file.gguf, with @revision where it is not main'
    throw new ShoalError('NAME', `"${text.slice(0, 200)}" is no name on the hub: write ${forms}.`)
  }
  return { repository, revision, quant, file }
}

/** The reverse. */
export function hubNameText({ repository, revision, quant, file }: HubName): string {
  const which = file === undefined ? (quant === undefined ? '' : `:${quant}`) : `/${file}`
  return `${PREFIX}${repository}${which}${revision === 'main' ? '' : `@${revision}`}`
}
