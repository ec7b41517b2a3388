import { useEffect } from 'react'
import { useNodeOnce } from '../api/node.ts'
import { navigate } from '../router.ts'
import { wasAsked } from './asked.ts'

/** Shows `/start` in the chat's place, once, to those whose own node this is and who were never asked to share. */
export function FirstRun(): null {
  const sharing = useNodeOnce({ enabled: !wasAsked() })?.sharing
  const isNew = sharing !== undefined && !sharing.hasSaidYes && !sharing.isTold && sharing.state === 'off'
  useEffect(() => {
    if (isNew && !wasAsked()) navigate('/start', { replace: true })
  }, [isNew])
  return null
}
