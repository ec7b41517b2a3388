/** Conversations as the page's own import takes them. */
import type { Page } from 'playwright-core'

export interface Said {
  readonly role: 'user' | 'assistant'
  readonly text: string
  readonly reasoning?: string
  readonly attachments?: readonly { readonly name: string; readonly text: string }[]
}

const AT = Date.UTC(2026, 0, 1)

function fileOf(title: string, said: readonly Said[], model: string): string {
  const messages = said.map((each, index) => ({
    ...{ id: `m${index}`, conversation: 'c', parent: index === 0 ? null : `m${index - 1}` },
    ...{ ...each, at: AT + index, model, state: 'done' }
  }))
  const leaf = `m${said.length - 1}`
  const conversation = { id: 'c', title, model, system: '', sampling: {}, leaf, at: AT, changedAt: AT }
  return JSON.stringify({
    format: 'shoal-conversations',
    version: 1,
    conversations: [{ conversation, messages }]
  })
}

/** Through the chat's menu, whose list must be in sight; then it is opened. */
export async function importAndOpen(
  page: Page,
  title: string,
  said: readonly Said[],
  model = 'demo'
): Promise<void> {
  const buffer = Buffer.from(fileOf(title, said, model))
  const input = page.getByLabel('File with conversations')
  await input.setInputFiles({ name: 'conversations.json', mimeType: 'application/json', buffer })
  await page
    .getByRole('navigation', { name: 'Conversations' })
    .getByRole('button', { name: title, exact: true })
    .click()
  await page.getByRole('log').getByRole('article').last().waitFor()
}
