import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'

/**
 * Collects garbage now. For after loading: a model's header is some hundred thousand strings of vocabulary, which
 * V8 would keep for as long as a node that only passes frames on gives it no reason to look.
 */
export function collectGarbage(): void {
  setFlagsFromString('--expose-gc')
  const collect = runInNewContext('gc') as () => void
  collect()
}
