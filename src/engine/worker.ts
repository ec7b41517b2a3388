/**
 * The engine's own process: llama.cpp aborts on failed assertions, and takes only this process along. Requests
 * come over the socket at file descriptor 3 and are answered in order; it ends when its parent does.
 */
import { Socket } from 'node:net'
import { Channel, type Message } from './channel.ts'
import type { EngineDescription } from './contract.ts'
import { EngineError } from './errors.ts'
import { listDevices } from './llama/devices.ts'
import { evaluateText } from './llama/evaluate.ts'
import { collectImportance } from './llama/importance.ts'
import { type Llama, loadLlama } from './llama/library.ts'
import { loadModel } from './llama/load.ts'
import { quantizeFile } from './llama/quantize.ts'
import { LlamaSpan } from './llama/span.ts'
import { verifyLibrary } from './llama/verify.ts'
import { Vocabulary } from './llama/vocabulary.ts'
import { decodeGroups, encodeResult, type Request } from './messages.ts'

/** Progress is reported in steps of a hundredth, not at every tensor. */
const PROGRESS_STEP = 0.01

let llama: Llama | undefined
let span: LlamaSpan | undefined
let vocabulary: Vocabulary | undefined

// Ctrl-C and a service manager's stop reach the whole group: the parent says goodbye first, then ends this.
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, () => {})

const socket = new Socket({ fd: 3 })
socket.on('close', () => process.exit(0))
socket.on('error', () => process.exit(0))
const channel = new Channel(socket, (message) => answer(message))

function answer({ head, body }: Message): void {
  const { id, request } = head as { id: number; request: Request }
  try {
    const { head: reply, parts } = perform(request, body)
    channel.send({ id, ...reply }, parts)
  } catch (error) {
    const code = error instanceof EngineError ? error.code : 'COMPUTE'
    channel.send({ id, error: { code, message: error instanceof Error ? error.message : String(error) } })
  }
}

type Reply = { head?: Record<string, unknown>; parts?: ArrayBufferView[] }

function perform(request: Request, body: Uint8Array): Reply {
  switch (request.op) {
    case 'load':
      return { head: { description: load(request) } }
    case 'run': {
      const loaded = loadedSpan()
      return encodeResult(loaded.run(decodeGroups(request.groups, body, loaded.description.width)))
    }
    case 'truncate':
      return { head: { length: loadedSpan().truncate(request.sequence, request.length) } }
    case 'copy':
      loadedSpan().copy(request.from, request.to, request.length)
      return {}
    case 'drop':
      loadedSpan().drop(request.sequence)
      return {}
    case 'sampler':
      loadedSpan().setSampler(request.sequence, request.settings)
      return {}
    case 'save':
      return { parts: [loadedSpan().save(request.sequence)] }
    case 'restore': {
      const tokens = new Int32Array(body.buffer, body.byteOffset, request.tokens)
      const state = body.subarray(request.tokens * 4)
      return { head: { length: loadedSpan().restore(request.sequence, state, tokens) } }
    }
    case 'tokenize': {
      const { text, addSpecial, parseSpecial } = request
      return { parts: [loadedVocabulary().tokenize(text, addSpecial, parseSpecial)] }
    }
    case 'pieces': {
      const tokens = new Int32Array(body.buffer, body.byteOffset, body.byteLength / 4)
      const pieces = Array.from(tokens, (token) => loadedVocabulary().piece(token, request.special))
      return {
        head: { lengths: pieces.map(({ bytes }) => bytes.length), ends: pieces.map(({ end }) => end) },
        parts: pieces.map(({ bytes }) => bytes)
      }
    }
    case 'devices':
      return { head: { devices: listDevices(llama as Llama) } }
    case 'memory':
      return { head: { bytes: process.memoryUsage.rss() } }
    case 'quantize': {
      const weights = new Float32Array(body.buffer, body.byteOffset, body.byteLength / 4)
      return {
        head: { report: quantizeFile(openLibrary(false), request.settings, weights, progressReport()) }
      }
    }
    case 'importance': {
      const library = openLibrary(request.run.gpuLayers !== 0)
      const { chunks, entries } = collectImportance(library, request.run, textOf(body), progressReport())
      const lengths = entries.map(({ name, sums, counts }) => {
        return { name, sums: sums.length, counts: counts.length }
      })
      return { head: { chunks, lengths }, parts: entries.flatMap(({ sums, counts }) => [sums, counts]) }
    }
    case 'score': {
      const library = openLibrary(request.run.gpuLayers !== 0)
      const scores = evaluateText(library, request.run, textOf(body), progressReport())
      const { tokens, chunks, loss, compared } = scores
      return { head: { tokens, chunks }, parts: [loss, ...Object.values(compared ?? {})] }
    }
  }
}

function textOf(body: Uint8Array): string {
  return new TextDecoder().decode(body)
}

function openLibrary(gpu: boolean): Llama {
  llama = loadLlama({ gpu })
  verifyLibrary(llama)
  llama.llama_backend_init()
  return llama
}

function progressReport(): (fraction: number) => void {
  let reported = 0
  const parent = process.ppid
  return (fraction) => {
    // Whoever computes for hours hears of the socket's end only afterwards.
    if (process.ppid !== parent) process.kill(process.pid, 'SIGKILL')
    if (fraction - reported < PROGRESS_STEP && fraction < 1) return
    reported = fraction
    channel.send({ progress: fraction })
  }
}

function load({ init, metadata }: Extract<Request, { op: 'load' }>): EngineDescription {
  const onProgress = progressReport()
  const llama = openLibrary(init.gpuLayers !== 0)
  if (!init.vocabularyOnly) {
    span = new LlamaSpan(llama, init, metadata, onProgress)
    vocabulary = span.vocabulary
    return span.description
  }
  const model = loadModel(llama, init, onProgress)
  vocabulary = new Vocabulary(llama, llama.llama_model_get_vocab(model))
  return {
    ...{ process: process.pid, libraryVersion: llama.llama_version(), model: '', blocks: 0, width: 0 },
    ...{ context: 0, sequences: 0, maxRows: 0, maxOutputs: 0, threads: init.threads },
    ...{ slidingWindow: 0, weightBytes: 0, hiddenStates: false },
    vocabulary: vocabulary.size,
    contextTrained: llama.llama_model_n_ctx_train(model),
    beginToken: vocabulary.beginToken,
    endToken: vocabulary.endToken,
    endTokens: vocabulary.endTokens(),
    devices: listDevices(llama)
  }
}

function loadedSpan(): LlamaSpan {
  if (span === undefined) throw new EngineError('INPUT', 'This engine has a vocabulary only, no blocks.')
  return span
}

function loadedVocabulary(): Vocabulary {
  if (vocabulary === undefined) throw new EngineError('INPUT', 'Nothing is loaded yet.')
  return vocabulary
}
