/** What a person does in the chat. */
import type { Locator, Page } from 'playwright-core'

export const STORY = 'Tell me a story about a little fish.'

export const composer = (page: Page): Locator => page.getByRole('textbox', { name: 'Message' })
export const stopButton = (page: Page): Locator => page.getByRole('button', { name: 'Stop', exact: true })
export const answers = (page: Page): Locator => page.getByRole('article', { name: /demo/ })

/** Opens the chat; resolves when a model is chosen. */
export async function openChat(page: Page, path = '/'): Promise<void> {
  await page.goto(path)
  await page.getByPlaceholder('Write a message').waitFor()
}

/** In tokens; by the settings of the chat, which must have been opened. */
export async function setLength(page: Page, tokens: number): Promise<void> {
  await page.getByRole('button', { name: 'Settings of this chat' }).click()
  await page.getByLabel('Longest answer').fill(String(tokens))
  await page.getByRole('button', { name: 'Done' }).click()
}

export async function say(page: Page, text: string): Promise<void> {
  await composer(page).fill(text)
  await composer(page).press('Enter')
}

/** Resolves when nothing is being answered any more. */
export async function answered(page: Page): Promise<void> {
  await page.getByRole('button', { name: 'Answer again' }).last().waitFor()
  await stopButton(page).waitFor({ state: 'detached' })
}
