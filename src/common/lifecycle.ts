/** Anything with a life of its own. Both calls are idempotent; `stop` never throws for what is already gone. */
export interface Startable {
  start(): Promise<void>
  stop(): Promise<void>
}
