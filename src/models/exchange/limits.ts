/** Requests of one peer that are not answered yet: 4 MiB in pieces of 16 KiB, 40 ms at 100 MB/s. */
export const MAX_REQUESTS = 256
