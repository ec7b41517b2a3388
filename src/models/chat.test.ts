import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { writeModelFile } from '../../test/models/file.ts'
import { tinyModel } from '../../test/models/index.ts'
import { type GgufPlan, type Metadata, planGguf } from '../gguf/index.ts'
import { type ChatMessage, ChatText } from './chat.ts'
import { openModel } from './model-file.ts'

const DEMO = 'models/demo.gguf'
/** Of the demo model: <|end|>, <|user|>, <|assistant|>. */
const [END, USER, ASSISTANT] = [0, 1, 2]

let folder: string

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'shoal-chat-'))
})

afterAll(() => rm(folder, { recursive: true, force: true }))

async function withChat<T>(path: string, use: (chat: ChatText) => Promise<T>): Promise<T> {
  const model = await openModel(path)
  try {
    const chat = new ChatText(model)
    await chat.start()
    return await use(chat).finally(() => chat.stop())
  } finally {
    await model.close()
  }
}

function user(content: string): ChatMessage[] {
  return [{ role: 'user', content }]
}

/** A model whose tokenizer begins texts with <s> (1), with a template or without. */
function tiny(name: string, template?: string): Promise<string> {
  const { metadata, tensors } = tinyModel('llama')
  const changed: Metadata = new Map(metadata)
  changed.delete('tokenizer.chat_template')
  if (template !== undefined) changed.set('tokenizer.chat_template', { type: 'string', value: template })
  return writeModelFile(folder, name, planGguf({ metadata: changed, tensors }))
}

async function decoded(chat: ChatText, tokens: Iterable<number>): Promise<string[]> {
  const source = async function* (): AsyncGenerator<number> {
    yield* tokens
  }
  return Array.fromAsync(chat.decode(source()))
}

describe('the demo model', () => {
  test('has its template rendered and its markers as one token each', async () => {
    const ids = await withChat(DEMO, (chat) => chat.tokenize(user('Tell me a story about a dog.')))
    // "T", "ell", " me", " a", " st", "or", "y", " about"...: a vocabulary of 1,024 has few whole words.
    expect([...ids]).toEqual([USER, 54, 573, 558, 261, 897, 91, 645, 261, 688, 16, ASSISTANT])
  })

  test('keeps turns apart', async () => {
    const conversation: ChatMessage[] = [...user('Hi.'), { role: 'assistant', content: 'Yes.' }, ...user('b')]
    const ids = await withChat(DEMO, (chat) => chat.tokenize(conversation))
    expect([...ids].filter((id) => id <= ASSISTANT)).toEqual([USER, ASSISTANT, END, USER, ASSISTANT])
  })

  test('gives back the text that went in, characters of several tokens whole', async () => {
    const text = 'Hé 🐠, ça va? 魚'
    await withChat(DEMO, async (chat) => {
      const ids = [...(await chat.tokenize(user(text)))].slice(1, -1)
      expect(ids.length).toBeGreaterThan([...text].length)
      const pieces = await decoded(chat, ids)
      expect(pieces.join('')).toBe(text)
      expect(pieces).toContain('🐠')
      expect(pieces.join('')).not.toContain('\ufffd')
    })
  })

  test('shows a character that never became whole as one that is missing', async () => {
    await withChat(DEMO, async (chat) => {
      const ids = [...(await chat.tokenize(user('🐠')))].slice(1, -1)
      expect((await decoded(chat, ids.slice(0, -1))).join('')).toBe('\ufffd')
    })
  })

  test('ends answers with its end token, whose text is not shown', async () => {
    await withChat(DEMO, async (chat) => {
      expect(chat.endTokens).toEqual(new Set([END]))
      expect(await decoded(chat, [END, USER])).toEqual([])
    })
  })
})

describe('a begin token', () => {
  test('that the template writes is not added again', async () => {
    const path = await tiny('with-bos', '{{ bos_token }}{% for m in messages %}{{ m.content }}{% endfor %}')
    const ids = [...(await withChat(path, (chat) => chat.tokenize(user('the'))))]
    expect(ids.filter((id) => id === 1)).toEqual([1])
    expect(ids[0]).toBe(1)
  })

  test('that it does not write is added', async () => {
    const path = await tiny('without-bos', '{% for m in messages %}{{ m.content }}{% endfor %}')
    const ids = [...(await withChat(path, (chat) => chat.tokenize(user('the'))))]
    expect(ids.filter((id) => id === 1)).toEqual([1])
    expect(ids[0]).toBe(1)
  })

  test('that a model does not have is nothing, not some ordinary token', async () => {
    const path = await writeModelFile(folder, 'no-bos', await demoWithTemplate('[{{ bos_token }}]'))
    await withChat(path, async (chat) => {
      const ids = await chat.tokenize(user('x'))
      expect((await decoded(chat, ids)).join('')).toBe('[]')
    })
  })
})

async function demoWithTemplate(template: string): Promise<GgufPlan> {
  const model = await openModel(DEMO)
  const metadata: Metadata = new Map(model.gguf.metadata)
  metadata.set('tokenizer.chat_template', { type: 'string', value: template })
  const tensors = await Promise.all(
    [...model.gguf.tensors].map(async ([name, { dims, type, offset, byteLength, source }]) => {
      const data = await (model.gguf.sources[source] as (typeof model.gguf.sources)[number]).read(
        offset,
        byteLength
      )
      return { name, dims, type, data: () => [data] }
    })
  )
  await model.close()
  return planGguf({ metadata, tensors })
}

describe('a template', () => {
  test('that is not there leaves the bare text', async () => {
    const path = await tiny('bare')
    await withChat(path, async (chat) => {
      const ids = [...(await chat.tokenize(user('the and')))]
      expect(ids[0]).toBe(1)
      expect((await decoded(chat, ids)).join('').trim()).toBe('the and')
    })
  })

  test('that does not parse, or refuses, is an error that says so', async () => {
    await expect(withChat(await tiny('broken', '{% for'), async () => {})).rejects.toMatchObject({
      code: 'TEMPLATE',
      message: expect.stringContaining('chat template cannot be used')
    })
    const picky = await tiny('picky', "{{ raise_exception('only in pairs') }}")
    const refused = withChat(picky, (chat) => chat.tokenize(user('x')))
    await expect(refused).rejects.toMatchObject({
      code: 'TEMPLATE',
      message: expect.stringContaining('only in pairs')
    })
  })
})
