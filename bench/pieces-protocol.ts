/** Bytes from the peer of pieces.bench.ts, and nothing else. */
export const PLAIN_PROTOCOL = '/shoal-bench/plain/1'
