/** One simulation in a process of its own, so that it has its own heap: `run.ts NODES MINUTES SETTLE SEED`; the outcome goes to stdout. */
import { Simulation } from './simulation.ts'

const [nodes, minutes, settleMinutes, seed = '1'] = process.argv.slice(2)
const simulation = new Simulation({
  ...{ nodes: Number(nodes), minutes: Number(minutes), settleMinutes: Number(settleMinutes), seed },
  log: (message) => console.error(message)
})
console.log(JSON.stringify(await simulation.run()))
