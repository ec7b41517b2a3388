import { expect, test } from 'vitest'
import { randomOf } from '../../test/models/random.ts'
import { Calibration } from './calibration.ts'

test('claims are believed until there is better knowledge', () => {
  expect(new Calibration().of(0.7)).toBeCloseTo(0.7)
})

test('what is claimed becomes what was true of such claims', () => {
  const random = randomOf('calibration')
  const calibration = new Calibration()
  for (let guess = 0; guess < 400; guess++) {
    calibration.learn(0.95, false)
    calibration.learn(0.15, random() < 0.6)
  }
  expect(calibration.of(0.95)).toBeLessThan(0.1)
  expect(calibration.of(0.15)).toBeGreaterThan(0.45)
  expect(calibration.of(0.15)).toBeLessThan(0.75)
  expect(calibration.of(0.5)).toBeCloseTo(0.5) // nobody claimed that
})

test('nothing is certain, nor impossible', () => {
  const calibration = new Calibration()
  for (const claimed of [-1, 0, 1, 7]) {
    expect(calibration.of(claimed)).toBeGreaterThan(0)
    expect(calibration.of(claimed)).toBeLessThan(1)
  }
})
