import { expect, test } from 'vitest'
import { openapiDocument } from './openapi.ts'
import { play, TestGateway } from './testing.ts'

const document = JSON.parse(JSON.stringify(openapiDocument()))

test('every reference in the document leads somewhere', () => {
  const references = [...JSON.stringify(document).matchAll(/"\$ref":"([^"]+)"/g)].map(
    (match) => match[1] as string
  )
  expect(references.length).toBeGreaterThan(10)
  for (const reference of references) {
    const path = reference.replace('#/', '').split('/')
    expect(
      path.reduce((value, key) => value?.[key], document),
      reference
    ).toBeTypeOf('object')
  }
})

test('every route of the dialects is in the document', () => {
  const { app } = new TestGateway(play())
  const routes = app.routes.filter(({ method }) => method !== 'ALL')
  expect(routes.length).toBeGreaterThan(7)
  for (const { method, path } of routes) {
    const documented = document.paths[path.replace(/:(\w+)\{[^}]*\}/, '{$1}')]
    expect(documented?.[method.toLowerCase()], path).toBeTypeOf('object')
  }
})

test('fields are those that are parsed, with their bounds', () => {
  const { properties, required } = document.components.schemas.ChatCompletionRequest
  expect(required).toEqual(['model', 'messages'])
  expect(properties.temperature.anyOf[0]).toEqual({ type: 'number', minimum: 0, maximum: 2 })
})
