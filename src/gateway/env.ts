/** What the gateway's middleware gives to every route. */
import type { Usage } from '../chat/index.ts'

export interface AdmissionCost {
  /** An estimate from the body's size: nothing is tokenized for those who have to wait. */
  readonly promptTokens: number
  /** How many answers are computed at once. Default 1. */
  readonly answers?: number
  /** Called when the request waits, and whenever it moves up: 1 is next. */
  readonly onPosition?: (position: number) => void
}

/** One of the gateway's places, held until it is released. */
export interface Admission {
  /** Idempotent. `used`: what the answers took, each once, where they came to an end. */
  readonly release: (used?: readonly Usage[]) => void
}

export interface GatewayEnv {
  Variables: {
    requestId: string
    owner: string
    /** Fires when the client is gone, time is up, or the server stops. */
    signal: AbortSignal
    /** Waits for a place. Throws a GatewayError BUSY or LIMITED, or the signal's reason. */
    admit: (cost: AdmissionCost) => Promise<Admission>
  }
}
