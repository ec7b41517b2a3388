import { closeSync, fstatSync, openSync, readSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

/** Enough to explain a death. */
const TAIL_BYTES = 16_384

/**
 * Where a child process logs to. A file without a name: a stream to the parent does not block, so that llama.cpp
 * would lose lines whenever the parent is busy. Gone when it is closed.
 */
export class LogFile {
  readonly descriptor: number

  constructor() {
    const path = join(tmpdir(), `shoal-engine-${process.pid}-${crypto.randomUUID()}.log`)
    this.descriptor = openSync(path, 'wx+', 0o600)
    rmSync(path, { force: true })
  }

  /** The last lines. */
  tail(): string[] {
    const { size } = fstatSync(this.descriptor)
    const bytes = Buffer.alloc(Math.min(size, TAIL_BYTES))
    const length = readSync(this.descriptor, bytes, 0, bytes.length, size - bytes.length)
    return bytes.toString('utf8', 0, length).split('\n')
  }

  close(): void {
    closeSync(this.descriptor)
  }
}
