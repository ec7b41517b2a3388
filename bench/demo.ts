/** What benches on the embedded model share: where it is cut, and what it is asked. */
import { fileURLToPath } from 'node:url'
import type { Random } from '../test/models/random.ts'

export const DEMO = fileURLToPath(new URL('../models/demo.gguf', import.meta.url))
export const DEMO_SPANS = ['0-3', '3-6', '6-8']
export const PROMPTS = [
  'Tell me a story about a little fish.',
  'The sun was warm and',
  'Once there was a dog who',
  'In the garden there lived',
  'One day, a girl named Lily found a big red ball in the park. She wanted to',
  'It was raining, so the boy',
  'The cat and the bird were friends. Every morning they',
  'Why does the moon shine at night?'
]

export function pick<T>(random: Random, items: readonly T[]): T {
  if (items.length === 0) throw new Error('there is nothing to pick from')
  return items[Math.floor(random() * items.length)] as T
}
