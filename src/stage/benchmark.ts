/** How fast a loaded span is: the short benchmark that placement, routing and `shoal plan` go by. */
import type { Engine, GroupResult } from '../engine/index.ts'
import type { Speed } from '../net/index.ts'

/** Single rows that are timed: enough that one hiccup of the machine is not their median. */
const DECODE_ROWS = 7
/** A slow span is not held up for longer by them; two are timed at least. */
const DECODE_MS = 1_000
/** Rows of a prompt: what consumers usually send in a frame, and less where they would take too long. */
const PREFILL_ROWS = 64
const PREFILL_MS = 2_000

/**
 * Times single rows and one piece of a prompt through all blocks of an engine that nobody uses yet, its process leg
 * included. Takes at most some three seconds, mostly far less. Throws `EngineError`.
 */
export async function measureSpeed(engine: Engine): Promise<Speed> {
  const { hiddenStates, maxRows, context } = engine.description
  if (!hiddenStates) await engine.setSampler(0, { temperature: 0, seed: 0 })
  try {
    await timed(engine, 0, 1) // pages the weights in
    const decodes: number[] = []
    const started = performance.now()
    const isEnough = (): boolean => decodes.length >= 2 && performance.now() - started > DECODE_MS
    while (decodes.length < DECODE_ROWS && decodes.length + 1 < context && !isEnough()) {
      decodes.push(await timed(engine, decodes.length + 1, 1))
    }
    const decodeMs = decodes.toSorted((a, b) => a - b)[decodes.length >> 1] as number
    // A row of a prompt costs no more than one alone.
    const room = Math.min(PREFILL_ROWS, maxRows, context)
    const rows = Math.max(1, Math.min(room, Math.floor(PREFILL_MS / decodeMs)))
    await engine.truncate(0, 0)
    const prefillMs = (await timed(engine, 0, rows)) / rows
    return { decodeMicroseconds: microseconds(decodeMs), prefillMicroseconds: microseconds(prefillMs) }
  } finally {
    await engine.drop(0)
  }
}

/** Milliseconds that so many rows at a position take. Hidden states go into every span, whatever came before it. */
async function timed(engine: Engine, position: number, rows: number): Promise<number> {
  const { hiddenStates, width } = engine.description
  const group = { sequence: 0, position, tokens: new Int32Array(rows) }
  const hidden = Float32Array.from({ length: rows * width }, (_, index) => ((index * 7919) % 17) / 17 - 0.5)
  const start = performance.now()
  const output = hiddenStates ? 'hidden' : 'sample-last'
  const { groups } = await engine.run([{ ...group, hidden, output }])
  const { error } = groups[0] as GroupResult
  if (error !== undefined) throw error
  return performance.now() - start
}

function microseconds(ms: number): number {
  return Math.max(1, Math.round(ms * 1000))
}
