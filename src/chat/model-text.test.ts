import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { writeModelFile } from '../../test/models/file.ts'
import { tinyModel } from '../../test/models/index.ts'
import { type Metadata, planGguf } from '../gguf/index.ts'
import { openModel } from '../models/index.ts'
import type { Conversation, Message } from './contract.ts'
import { ModelText } from './model-text.ts'

const DEMO = 'models/demo.gguf'
/** Of the demo model: <|end|>, <|user|>, <|assistant|>. */
const [END, USER, ASSISTANT] = [0, 1, 2]

let folder: string

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'shoal-chat-'))
})

afterAll(() => rm(folder, { recursive: true, force: true }))

async function withText<T>(path: string, use: (text: ModelText) => Promise<T>): Promise<T> {
  const model = await openModel(path)
  try {
    const text = new ModelText(model)
    await text.start()
    return await use(text).finally(() => text.stop())
  } finally {
    await model.close()
  }
}

/** A model whose tokenizer begins texts with <s> (1), with a template or without. */
function tiny(name: string, template?: string): Promise<string> {
  const { metadata, tensors } = tinyModel('llama')
  const changed: Metadata = new Map(metadata)
  changed.delete('tokenizer.chat_template')
  if (template !== undefined) changed.set('tokenizer.chat_template', { type: 'string', value: template })
  return writeModelFile(folder, name, planGguf({ metadata: changed, tensors }))
}

async function idsOf(text: ModelText, ...messages: Message[]): Promise<number[]> {
  const input: Conversation = {
    ...{ kind: 'conversation', messages, tools: [], toolChoice: 'auto', parallelCalls: true }
  }
  return [...(await text.prompt({ input, format: { kind: 'text' } })).tokens]
}

async function bytesOf(text: ModelText, ids: readonly number[]): Promise<string> {
  const pieces = await Promise.all(ids.map((id) => text.bytesOf(id, false)))
  return Buffer.concat(pieces).toString()
}

const user = (text: string): Message => ({ role: 'user', text })

describe('the demo model', () => {
  test('has its template rendered and its markers as one token each', async () => {
    await withText(DEMO, async (text) => {
      const ids = await idsOf(text, user('Hi.'), { role: 'assistant', text: 'Yes.' }, user('b'))
      expect(ids.filter((id) => id <= ASSISTANT)).toEqual([USER, ASSISTANT, END, USER, ASSISTANT])
    })
  })

  test('gives back the text that went in, characters of several tokens whole', async () => {
    const said = 'Hé 🐠, ça va? 魚'
    await withText(DEMO, async (text) => {
      const ids = (await idsOf(text, user(said))).slice(1, -1)
      expect(ids.length).toBeGreaterThan([...said].length)
      expect(await bytesOf(text, ids)).toBe(said)
    })
  })

  test('continues texts as they are, and ids', async () => {
    await withText(DEMO, async (text) => {
      const ask = (prompt: string | Int32Array) =>
        text.prompt({ input: { kind: 'continuation', prompt }, format: { kind: 'text' } })
      const { tokens } = await ask('Once upon a time')
      expect(await bytesOf(text, [...tokens])).toContain('Once upon a time')
      expect((await ask(tokens)).tokens).toBe(tokens)
    })
  })

  test('tells the text of its own signs only where that is asked for', async () => {
    await withText(DEMO, async (text) => {
      expect(text.endTokens).toEqual(new Set([END]))
      const of = async (special: boolean) =>
        Buffer.from(await text.bytesOf(USER as number, special)).toString()
      expect([await of(false), await of(true)]).toEqual(['', '<|user|>'])
    })
  })
})

test.each([
  [
    'that the template writes is not added again',
    '{{ bos_token }}{% for m in messages %}{{ m.content }}{% endfor %}'
  ],
  ['that it does not write is added', '{% for m in messages %}{{ m.content }}{% endfor %}']
])('a begin token %s', async (name, template) => {
  await withText(await tiny(name.slice(0, 12), template), async (text) => {
    const ids = await idsOf(text, user('the'))
    expect(ids.filter((id) => id === 1)).toEqual([1])
    expect(ids[0]).toBe(1)
  })
})

test('a template that is not there leaves the bare text', async () => {
  await withText(await tiny('bare'), async (text) => {
    const ids = await idsOf(text, user('the and'))
    expect(ids[0]).toBe(1)
    expect((await bytesOf(text, ids)).trim()).toBe('the and')
  })
})

test('a template that does not parse is an error that says so', async () => {
  const broken = withText(await tiny('broken', '{% for'), async () => {})
  await expect(broken).rejects.toMatchObject({ code: 'TEMPLATE' })
})
