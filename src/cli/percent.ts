import { mayChat, note } from './output.ts'

/** Where no terminal shows the line that counts, there is a line after each of these. */
const LINE_MS = 10_000
/** Before that, how long it takes is a guess. */
const SURE_MS = 1_000

/** Does something slow, and says on standard error how far it is. */
export async function withPercent<T>(
  label: string,
  work: (onProgress: (fraction: number) => void) => Promise<T>
): Promise<T> {
  const { isTTY } = process.stderr
  const start = performance.now()
  let saidAt = start
  if (!isTTY) note(label)
  const onProgress = (fraction: number): void => {
    const now = performance.now()
    if (!mayChat() || (!isTTY && now - saidAt < LINE_MS)) return
    saidAt = now
    const line = `${label}: ${(fraction * 100).toFixed(0)} %${left(fraction, now - start)}`
    process.stderr.write(isTTY ? `\r\x1b[K${line}` : `${line}\n`)
  }
  try {
    return await work(onProgress)
  } finally {
    if (isTTY) process.stderr.write('\r\x1b[K')
  }
}

function left(fraction: number, elapsedMs: number): string {
  if (fraction <= 0 || fraction >= 1 || elapsedMs < SURE_MS) return ''
  const seconds = (elapsedMs * (1 - fraction)) / fraction / 1000
  return seconds < 90 ? `, ${seconds.toFixed(0)} s left` : `, ${(seconds / 60).toFixed(0)} min left`
}
