/** Numbers as people read them. */

const BYTES = ['B', 'kB', 'MB', 'GB', 'TB', 'PB'] as const

/** Of 1,000, as disks and lines are sold: `1.2 GB`. */
export function bytes(value: number): string {
  let scaled = Math.max(value, 0)
  let step = 0
  // What would be rounded to 1000 is one of the next.
  while (scaled >= 999.5 && step < BYTES.length - 1) {
    scaled /= 1_000
    step++
  }
  const digits = step === 0 || scaled >= 99.95 ? 0 : 1
  return `${scaled.toFixed(digits).replace(/\.0$/, '')} ${BYTES[step]}`
}

export function bytesPerSecond(value: number): string {
  return `${bytes(value)}/s`
}

const LARGE = new Intl.NumberFormat('en', { notation: 'compact', maximumFractionDigits: 1 })

/** `999`, `1.2K`, `3M`. */
export function count(value: number): string {
  return LARGE.format(value)
}

/** `1 node`, `3 nodes`. */
export function plural(value: number, one: string, many = `${one}s`): string {
  return `${value.toLocaleString('en')} ${value === 1 ? one : many}`
}

const MINUTE = 60
const HOUR = 60 * MINUTE
const DAY = 24 * HOUR

/** The two largest units: `45 s`, `3 min`, `2 h 5 min`, `4 d 3 h`. */
export function duration(seconds: number): string {
  const whole = Math.max(Math.round(seconds), 0)
  if (whole < MINUTE) return `${whole} s`
  if (whole < HOUR) return `${Math.floor(whole / MINUTE)} min`
  const [unit, name, lower, lowerName] = whole < DAY ? [HOUR, 'h', MINUTE, 'min'] : [DAY, 'd', HOUR, 'h']
  const rest = Math.floor((whole % (unit as number)) / (lower as number))
  return `${Math.floor(whole / (unit as number))} ${name}${rest === 0 ? '' : ` ${rest} ${lowerName}`}`
}

export function milliseconds(value: number): string {
  return value < 9.95 ? `${value.toFixed(1)} ms` : `${Math.round(value)} ms`
}

/** Peer ids begin alike and end apart. */
export function shortPeer(peer: string): string {
  return peer.length <= 12 ? peer : `…${peer.slice(-8)}`
}

/** What a node says in plain words, as a sentence of its own; its ends of blocks are those of programs. */
export function sentence(text: string): string {
  const counted = text.replace(/\bblocks (\d+)-(\d+)/g, (_, start, end) => `blocks ${blocks(+start, +end)}`)
  const said = counted.charAt(0).toUpperCase() + counted.slice(1)
  return /[.!?]$/.test(said) || said === '' ? said : `${said}.`
}

/** Blocks [start, end) as people count them: `12–18`, `5`. */
export function blocks(start: number, end: number): string {
  return end - start === 1 ? `${start}` : `${start}–${end - 1}`
}
