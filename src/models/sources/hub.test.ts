import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { TestHub } from '../../../test/hub.ts'
import { ShoalError } from '../../common/index.ts'
import { HttpClient } from './http.ts'
import { locate, locateListed } from './remote-model.ts'

/** As bartowski, unsloth, ggml-org, mradermacher and Qwen name them. */
const FILES = [
  'bart/Llama-3.3-70B-GGUF/Llama-3.3-70B-Instruct-Q4_K_M.gguf',
  'bart/Llama-3.3-70B-GGUF/Llama-3.3-70B-Instruct-IQ2_XS.gguf',
  'bart/Llama-3.3-70B-GGUF/Llama-3.3-70B-Instruct-Q8_0/Llama-3.3-70B-Instruct-Q8_0-00002-of-00002.gguf',
  'bart/Llama-3.3-70B-GGUF/Llama-3.3-70B-Instruct-Q8_0/Llama-3.3-70B-Instruct-Q8_0-00001-of-00002.gguf',
  'bart/Llama-3.3-70B-GGUF/Llama-3.3-70B-Instruct-f16/Llama-3.3-70B-Instruct-f16-00001-of-00004.gguf',
  'bart/Llama-3.3-70B-GGUF/Llama-3.3-70B-Instruct.imatrix',
  'bart/Llama-3.3-70B-GGUF/README.md',
  'uns/gemma-3-GGUF/gemma-3-4b-it-UD-Q4_K_XL.gguf',
  'uns/gemma-3-GGUF/gemma-3-4b-it-Q8_0.gguf',
  'uns/gemma-3-GGUF/mmproj-F16.gguf',
  'uns/gemma-3-GGUF/imatrix_unsloth.gguf',
  'ggml/gpt-oss-20b-GGUF/gpt-oss-20b-mxfp4.gguf',
  'mrad/both/one.Q4_K_M.gguf',
  'mrad/both/two.Q4_K_M.gguf',
  'mrad/spaced/ä model #1.i1-Q6_K.gguf',
  'qwen/old/config.json'
]
let folder: string
let hub: TestHub
let http: HttpClient

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'shoal-hub-'))
  for (const [index, file] of FILES.entries()) {
    await mkdir(dirname(join(folder, file)), { recursive: true })
    await writeFile(join(folder, file), 'x'.repeat(index))
  }
  hub = await TestHub.start({ folder, pageEntries: 3 })
  http = new HttpClient({ endpoint: hub.endpoint, wait: async () => {} })
})

afterAll(async () => {
  await hub.close()
  await rm(folder, { recursive: true, force: true })
})

/** Without what is common to all. */
async function located(text: string): Promise<string[]> {
  return (await locate(http, text)).map((url) => decodeURIComponent(url.slice(hub.endpoint.length)))
}

describe('a name on the hub', () => {
  test.each([
    ['hf:bart/Llama-3.3-70B-GGUF:Q4_K_M', 'Llama-3.3-70B-Instruct-Q4_K_M.gguf'],
    ['hf:bart/Llama-3.3-70B-GGUF:iq2_xs', 'Llama-3.3-70B-Instruct-IQ2_XS.gguf'],
    ['HF:bart/Llama-3.3-70B-GGUF', 'Llama-3.3-70B-Instruct-Q4_K_M.gguf'],
    ['hf:bart/Llama-3.3-70B-GGUF/Llama-3.3-70B-Instruct-IQ2_XS.gguf', 'Llama-3.3-70B-Instruct-IQ2_XS.gguf'],
    ['hf:uns/gemma-3-GGUF:ud-q4_k_xl', 'gemma-3-4b-it-UD-Q4_K_XL.gguf'],
    ['hf:ggml/gpt-oss-20b-GGUF', 'gpt-oss-20b-mxfp4.gguf'],
    ['hf:ggml/gpt-oss-20b-GGUF:MXFP4', 'gpt-oss-20b-mxfp4.gguf'],
    ['hf:mrad/spaced:Q6_K', 'ä model #1.i1-Q6_K.gguf']
  ])('%s is one file', async (text, file) => {
    const [url, ...more] = await located(text)
    expect(url?.split('/resolve/main/')[1]).toBe(file)
    expect(more).toEqual([])
  })

  test('may be of several parts, which come in order', async () => {
    const folderOf = '/bart/Llama-3.3-70B-GGUF/resolve/main/Llama-3.3-70B-Instruct-Q8_0'
    const parts = ['1', '2'].map(
      (part) => `${folderOf}/Llama-3.3-70B-Instruct-Q8_0-0000${part}-of-00002.gguf`
    )
    expect(await located('hf:bart/Llama-3.3-70B-GGUF:Q8_0')).toEqual(parts)
    const second = 'Llama-3.3-70B-Instruct-Q8_0/Llama-3.3-70B-Instruct-Q8_0-00002-of-00002.gguf'
    expect(await located(`hf:bart/Llama-3.3-70B-GGUF/${second}`)).toEqual(parts)
  })

  test('names a revision', async () => {
    const [url] = await located('hf:bart/Llama-3.3-70B-GGUF:Q4_K_M@refs/pr/1')
    expect(url).toContain('/resolve/refs/pr/1/')
    expect(hub.requests.at(-1)?.path).toBe('/api/models/bart/Llama-3.3-70B-GGUF/tree/refs/pr/1')
  })

  test.each([
    [
      'hf:bart/Llama-3.3-70B-GGUF:Q4_K_S',
      /has no Q4_K_S\. Did you mean Q4_K_M\? It has IQ2_XS, Q4_K_M, Q8_0\./
    ],
    ['hf:bart/Llama-3.3-70B-GGUF:F16', /has no F16\. It has/], // one part of four
    ['hf:uns/gemma-3-GGUF', /name one: hf:uns\/gemma-3-GGUF\/gemma-3-4b-it-.*, hf:/],
    ['hf:mrad/both:Q4_K_M', /name one: hf:mrad\/both\/one\.Q4_K_M\.gguf, hf:mrad\/both\/two/],
    ['hf:mrad/both/tow.Q4_K_M.gguf', /Did you mean two\.Q4_K_M\.gguf/],
    ['hf:qwen/old', /no GGUF files/]
  ])('%s that means none or several says what there is', async (text, message) => {
    const locating = locate(http, text)
    await expect(locating).rejects.toMatchObject({ code: 'NAME' })
    await expect(locating).rejects.toThrow(message)
  })

  test('of no repository says so', async () => {
    await expect(locate(http, 'hf:no/body')).rejects.toMatchObject({ code: 'NOT_FOUND' })
  })

  test('is asked for again when the hub fails in passing', async () => {
    hub.fail({ status: 500 })
    hub.fail({ resetAfter: 3 })
    hub.fail({ status: 429, headers: { 'retry-after': '1' } })
    expect(await located('hf:ggml/gpt-oss-20b-GGUF')).toHaveLength(1)
    hub.heal()
  })

  test.each([
    'hf:',
    'hf:user',
    'hf:user/',
    'hf:../../etc:Q4',
    'hf:a/b/../../c.gguf',
    'hf:a/b/c.txt',
    'hf:a/b/c?d.gguf',
    'hf:a/b:Q4/0',
    'hf:a/b@../../main',
    'hf:a/b@',
    `hf:a/${'b'.repeat(200)}`
  ])('%s is none', async (text) => {
    await expect(locate(http, text)).rejects.toMatchObject({ code: 'NAME' })
  })
})

describe('an address', () => {
  test('of one part brings the others', async () => {
    expect(await locate(http, 'http://127.0.0.1:1/x/m-00002-of-00002.gguf?a=b')).toEqual([
      'http://127.0.0.1:1/x/m-00001-of-00002.gguf?a=b',
      'http://127.0.0.1:1/x/m-00002-of-00002.gguf?a=b'
    ])
  })

  test('of a page on the hub is that of its file', async () => {
    expect(await located(`${hub.endpoint}/user/repo/blob/main/m.gguf`)).toEqual([
      '/user/repo/resolve/main/m.gguf'
    ])
    expect(await locate(http, 'http://127.0.0.1:1/user/repo/blob/main/m.gguf')).toEqual([
      'http://127.0.0.1:1/user/repo/blob/main/m.gguf'
    ])
  })
})

test('a listing names files by their addresses, or by a name on the hub', async () => {
  const named = { parts: [{ url: 'hf:ggml/gpt-oss-20b-GGUF:MXFP4', bytes: 1 }] }
  expect(await locateListed(http, named)).toEqual(await locate(http, 'hf:ggml/gpt-oss-20b-GGUF:MXFP4'))
  const parts = ['http://127.0.0.1:1/a', 'http://127.0.0.1:1/b'].map((url) => ({ url, bytes: 1 }))
  expect(await locateListed(http, { parts })).toEqual(parts.map(({ url }) => url))
})

test('whatever the hub answers, it is an error that Shoal made or a list of addresses', async () => {
  const entry = fc.record(
    {
      type: fc.oneof(fc.constantFrom('file', 'directory'), fc.jsonValue()),
      path: fc.oneof(fc.constantFrom('a-Q4_K_M.gguf', '../x.gguf', 'b-00001-of-99999.gguf'), fc.jsonValue()),
      size: fc.oneof(fc.constant(5), fc.jsonValue())
    },
    { requiredKeys: [] }
  )
  const answers = fc.oneof(
    fc.string(),
    fc.json(),
    fc.array(entry, { maxLength: 4 }).map((entries) => JSON.stringify(entries))
  )
  const property = fc.asyncProperty(answers, async (body) => {
    hub.fail({ body })
    try {
      const urls = await locate(http, 'hf:user/repo')
      expect(urls.every((url) => url.startsWith(`${hub.endpoint}/user/repo/resolve/main/`))).toBe(true)
    } catch (error) {
      expect(error).toBeInstanceOf(ShoalError)
    }
  })
  await fc.assert(property, { seed: 3, numRuns: 300 })
})

test('a hub that lists without an end, or elsewhere, is not believed', async () => {
  const body = JSON.stringify([{ type: 'file', path: 'a.gguf', size: 1 }])
  const next = (url: string) => ({ body, headers: { link: `<${url}>; rel="next"` } })
  hub.fail(next('/api/models/a/b/tree/main'), { times: 100 })
  await expect(locate(http, 'hf:a/b')).rejects.toThrow(/without an end/)
  hub.heal()
  hub.fail(next('file:///etc/passwd'))
  await expect(locate(http, 'hf:a/b')).rejects.toMatchObject({ code: 'URL' })
})
