import type { ReactNode } from 'react'

export function ChatPage(): ReactNode {
  return <h1 className="p-6 text-2xl font-semibold">Chat</h1>
}
