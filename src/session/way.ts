/** A way that was open for so long was no vain hope, and is worth another attempt. */
const STEADY_MS = 1_000

/** The way from one hop (or the consumer) to the next: which ticket opens it, and whether it does. */
export class Way {
  state: 'opening' | 'open' | 'broken' = 'opening'
  /** Of the state, by performance.now(). */
  since = 0
  /** Why it is broken. */
  reason = ''
  #ticket: Uint8Array | undefined
  #isRenewed = false
  #openMs = 0

  /** Another ticket from now on. `isRenewed`: for the same two hops. */
  begin(ticket: Uint8Array, isRenewed: boolean): void {
    this.#ticket = ticket
    this.#isRenewed = isRenewed
    this.#openMs = 0
    this.#is('opening')
  }

  /** News of older tickets are no news. */
  is(ticket: Uint8Array): boolean {
    return this.#ticket !== undefined && Buffer.compare(ticket, this.#ticket) === 0
  }

  opened(): void {
    if (this.state !== 'open') this.#is('open')
  }

  broke(reason: string): void {
    if (this.state === 'open') this.#openMs = performance.now() - this.since
    this.reason = reason
    this.#is('broken')
  }

  /** It was renewed, and did not last. */
  get wasInVain(): boolean {
    return this.#isRenewed && this.#openMs < STEADY_MS
  }

  #is(state: Way['state']): void {
    this.state = state
    this.since = performance.now()
  }
}
