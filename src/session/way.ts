/** The way from one hop (or the consumer) to the next: which ticket opens it, and whether it does. */
export class Way {
  ticket: Uint8Array | undefined
  state: 'opening' | 'open' | 'broken' = 'opening'
  /** Why it is broken, and since when (performance.now()). */
  reason = ''
  since = 0
  /** It goes through the consumer. */
  isRelayed = false

  /** Another ticket from now on. */
  begin(ticket: Uint8Array, isRelayed = false): void {
    this.ticket = ticket
    this.isRelayed = isRelayed
    this.state = 'opening'
    this.since = performance.now()
  }

  /** News of older tickets are no news. */
  is(ticket: Uint8Array): boolean {
    return this.ticket !== undefined && Buffer.compare(ticket, this.ticket) === 0
  }

  opened(): void {
    this.state = 'open'
  }

  broke(reason: string): void {
    this.state = 'broken'
    this.reason = reason
    this.since = performance.now()
  }
}
