import { describe, expect, test } from 'vitest'
import { type Model, searchModels } from './models.ts'

const model = (name: string, fields: Partial<Model> = {}): Model => ({
  ...{ name, aliases: [], blockCount: 8, isCovered: true, missing: [], nodes: 1 },
  ...fields
})

describe('models', () => {
  test('search takes each word, in any place', () => {
    const models = [model('qwen3-8b', { licence: 'apache-2.0' }), model('llama', { aliases: ['tiny'] })]
    expect(searchModels(models, 'APACHE qwen').map(({ name }) => name)).toEqual(['qwen3-8b'])
    expect(searchModels(models, 'tiny').map(({ name }) => name)).toEqual(['llama'])
    expect(searchModels(models, '')).toHaveLength(2)
  })
})
