import { type ReactNode, useState } from 'react'
import { useJoin } from '../api/node.ts'
import { Button, Field, TextArea, toast } from '../ui/index.ts'

/** Takes an invitation, or takes part in the public swarm. */
export function Join(): ReactNode {
  const [token, setToken] = useState('')
  const join = useJoin()
  const ask = (wanted: string): void =>
    join.mutate(wanted, {
      onSuccess: () => {
        setToken('')
        toast('Joined: stop Shoal and start it again to take part.')
      }
    })
  return (
    <section aria-label="Join" className="flex flex-col gap-3">
      <h3 className="font-semibold">Join a swarm</h3>
      <form
        className="flex flex-col gap-3"
        onSubmit={(event) => {
          event.preventDefault()
          if (token.trim() !== '') ask(token.trim())
        }}
      >
        <Field label="Invitation" error={join.error?.message}>
          {(control) => (
            <TextArea
              {...control}
              rows={3}
              spellCheck={false}
              className="font-mono text-xs"
              value={token}
              onChange={(event) => setToken(event.target.value)}
            />
          )}
        </Field>
        <div className="flex flex-wrap gap-2">
          <Button type="submit" look="primary" busy={join.isPending} disabled={token.trim() === ''}>
            Join
          </Button>
          <Button busy={join.isPending} onClick={() => ask('public')}>
            Join the public swarm
          </Button>
        </div>
      </form>
    </section>
  )
}
