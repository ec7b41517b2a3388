/**
 * The provider's side: a span loaded into an engine, computed for everybody's sessions in one loop.
 *
 * @example
 * ```ts
 * const stages = new StageServer({ host })
 * stages.add(new Stage({ engine }, { model, name, architecture, start: 0, end: 3, ... }))
 * host.serve({ info, control: (stream) => stages.control(stream), data: (t, s) => stages.data(t, s) })
 * ```
 */
export { measureSpeed } from './benchmark.ts'
export { Outlet } from './outlet.ts'
export { ReplayLog } from './replay-log.ts'
export { samplerSettings } from './sampler.ts'
export { type ComputedRows, StageServer, type StageServerComponents } from './server.ts'
export { Stage, type StageComponents, type StageInit } from './stage.ts'
export { DECODE_ROWS } from './take.ts'
