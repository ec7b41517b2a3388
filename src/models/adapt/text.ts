import { readFile } from 'node:fs/promises'
import { ShoalError } from '../../common/index.ts'

/** A text to calibrate or evaluate with, without its last line's end, as llama.cpp's tools read one. */
export async function readText(path: string): Promise<string> {
  try {
    return (await readFile(path, 'utf8')).replace(/\n$/, '')
  } catch (cause) {
    const { code, message } = cause as NodeJS.ErrnoException
    const reason = code === 'ENOENT' ? 'there is no such file' : message
    throw new ShoalError('TEXT_FILE', `Cannot read the text ${path}: ${reason}.`, { cause })
  }
}
