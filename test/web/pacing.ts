/** Stands before a gateway and lets its streams through no faster than so many events a second. */
import { once } from 'node:events'
import { createServer, type IncomingMessage, request, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'

export interface Pacing {
  readonly url: string
  stop(): void
}

export async function pace(gateway: string, eventsPerSecond: number): Promise<Pacing> {
  const server = createServer((asked, response) => {
    const { method, url, headers } = asked
    const onward = request(new URL(url ?? '/', gateway), { method, headers }, (answer) => {
      response.writeHead(answer.statusCode ?? 502, answer.headers)
      const isStream = url === '/v1/chat/completions'
      if (isStream) void send(answer, response, eventsPerSecond).catch(() => response.destroy())
      else answer.pipe(response)
    })
    onward.on('error', () => response.destroy())
    response.on('close', () => onward.destroy())
    asked.pipe(onward)
  })
  await once(server.listen(0, '127.0.0.1'), 'listening')
  const { port } = server.address() as AddressInfo
  return {
    url: `http://127.0.0.1:${port}`,
    stop: () => {
      server.closeAllConnections()
      server.close()
    }
  }
}

/** By the clock, not by pauses, so that a late one is made up for. */
async function send(
  answer: IncomingMessage,
  response: ServerResponse,
  eventsPerSecond: number
): Promise<void> {
  const begun = performance.now()
  let sent = 0
  let rest = ''
  for await (const bytes of answer.setEncoding('utf8')) {
    const events = (rest + bytes).split('\n\n')
    rest = events.pop() ?? ''
    for (const event of events) {
      const early = begun + (sent++ * 1_000) / eventsPerSecond - performance.now()
      if (early > 0) await sleep(early)
      response.write(`${event}\n\n`)
    }
  }
  response.end(rest)
}
