import { type ReactNode, useState } from 'react'
import { setApiKey } from '../api/http.ts'
import { Button, Field, Input } from '../ui/index.ts'

/** For gateways that answer only who has a key. It is kept in this browser. */
export function KeyForm({ onKey }: { readonly onKey: () => void }): ReactNode {
  const [key, setKey] = useState('')
  return (
    <form
      className="flex items-end gap-2"
      onSubmit={(event) => {
        event.preventDefault()
        setApiKey(key.trim())
        onKey()
      }}
    >
      <Field label="Key">
        {(control) => (
          <Input
            {...control}
            type="password"
            autoComplete="off"
            value={key}
            onChange={(event) => setKey(event.target.value)}
          />
        )}
      </Field>
      <Button type="submit" look="primary">
        Use it
      </Button>
    </form>
  )
}
