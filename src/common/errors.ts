/** Base of every error that Shoal throws on purpose: a stable `code`, and a message that says what to do. */
export class ShoalError extends Error {
  readonly code: string

  constructor(code: string, message: string, options?: ErrorOptions) {
    super(message, options)
    this.name = new.target.name
    this.code = code
  }
}
