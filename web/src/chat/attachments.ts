/** Text files that go into a prompt. */
import type { Attachment } from './messages.ts'

/** In bytes: some hundred thousand tokens, which few contexts have room for. */
const MAX_FILE = 1_000_000
const MAX_FILES = 16

/** Throws an Error whose message can be shown. */
export async function readAttachments(files: readonly File[], already: number): Promise<Attachment[]> {
  if (already + files.length > MAX_FILES) throw new Error(`At most ${MAX_FILES} files can be attached.`)
  return await Promise.all(files.map(readAttachment))
}

async function readAttachment(file: File): Promise<Attachment> {
  if (file.size > MAX_FILE)
    throw new Error(`“${file.name}” is too large: up to 1 MB of text can be attached.`)
  try {
    const text = new TextDecoder('utf-8', { fatal: true }).decode(await file.arrayBuffer())
    if (text.includes('\0')) throw new TypeError('binary')
    return { name: file.name, text: text.replaceAll('\r\n', '\n') }
  } catch {
    throw new Error(`“${file.name}” is not a text file. Models here read text only.`)
  }
}
