/**
 * One simulation in a process of its own, so that it has its own heap: `run.ts NODES RAMP SETTLE MINUTES SEED SHELF`; the
 * outcome goes to stdout.
 */
import { Simulation } from './simulation.ts'

const [nodes, rampMinutes, settleMinutes, minutes, seed = '1', shelf] = process.argv.slice(2)
const simulation = new Simulation({
  ...{ nodes: Number(nodes), rampMinutes: Number(rampMinutes), settleMinutes: Number(settleMinutes) },
  ...{ minutes: Number(minutes), seed, shelf: Number(shelf) },
  log: (message) => console.error(message)
})
console.log(JSON.stringify(await simulation.run()))
