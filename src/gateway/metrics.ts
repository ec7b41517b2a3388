/** What the gateway counts, for Prometheus. docs/METRICS.md explains each; ops/grafana has a dashboard. */
import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from 'prom-client'

/** What is read when somebody looks. */
export interface MetricSources {
  readonly queueLength: () => number
  readonly answersActive: () => number
  readonly connections: () => number
}

/** Of a token, in seconds: from a GPU's millisecond to a chain that is being repaired. */
const GAP_BUCKETS = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10]
/** What the gateway adds to a token, in seconds. */
const DELAY_BUCKETS = [
  0.0001, 0.00025, 0.0005, 0.001, 0.002, 0.003, 0.004, 0.005, 0.0075, 0.01, 0.025, 0.1, 1
]
/** Of a request, in seconds. */
const WAIT_BUCKETS = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300]
const BODY_BUCKETS = [256, 1024, 4096, 16_384, 65_536, 262_144, 1_048_576, 4_194_304]

export class Metrics {
  readonly registry = new Registry()
  readonly requests: Counter<'route' | 'method' | 'status'>
  readonly requestSeconds: Histogram<'route'>
  readonly bodyBytes: Histogram
  readonly queueSeconds: Histogram
  readonly firstTokenSeconds: Histogram
  readonly gapSeconds: Histogram
  readonly delaySeconds: Histogram
  readonly spanSeconds: Histogram<'span'>
  readonly tokens: Counter<'model' | 'kind'>
  readonly guesses: Counter<'model' | 'kind'>
  readonly answers: Counter<'model' | 'outcome'>
  readonly chainEvents: Counter<'change'>
  readonly refused: Counter<'reason'>

  constructor(sources: MetricSources) {
    const registers = [this.registry]
    const named = (name: string, help: string) => ({ name: `shoal_gateway_${name}`, help, registers })
    const histogram = (name: string, help: string, buckets: number[]): Histogram =>
      new Histogram({ ...named(name, help), buckets })
    const gauge = (name: string, help: string, read: () => number): Gauge =>
      new Gauge({
        ...named(name, help),
        collect() {
          this.set(read())
        }
      })
    this.requests = new Counter({
      ...named('requests_total', 'Requests that were answered, by status'),
      labelNames: ['route', 'method', 'status']
    })
    this.requestSeconds = new Histogram({
      ...named('request_seconds', 'From the first byte of a request to the last of its answer'),
      labelNames: ['route'],
      buckets: WAIT_BUCKETS
    })
    this.bodyBytes = histogram('request_body_bytes', 'Sizes of requests', BODY_BUCKETS)
    this.queueSeconds = histogram('queue_wait_seconds', 'Waits for a place', WAIT_BUCKETS)
    this.firstTokenSeconds = histogram(
      'first_token_seconds',
      'From the request to its first token, the queue included',
      WAIT_BUCKETS
    )
    this.gapSeconds = histogram('token_gap_seconds', 'Between a token and the next', GAP_BUCKETS)
    this.delaySeconds = histogram(
      'token_delay_seconds',
      'From a token at the consumer to its bytes on their way to the client',
      DELAY_BUCKETS
    )
    this.spanSeconds = new Histogram({
      ...named('span_seconds', 'Where the time of an answer went'),
      labelNames: ['span'],
      buckets: WAIT_BUCKETS
    })
    this.tokens = new Counter({
      ...named('tokens_total', 'Tokens of prompts and answers'),
      labelNames: ['model', 'kind']
    })
    this.guesses = new Counter({
      ...named('guesses_total', 'Tokens that were guessed before they were drawn'),
      labelNames: ['model', 'kind']
    })
    this.answers = new Counter({
      ...named('answers_total', 'Answers that ended, and how'),
      labelNames: ['model', 'outcome']
    })
    this.chainEvents = new Counter({
      ...named('chain_events_total', 'What happened to chains in mid-answer'),
      labelNames: ['change']
    })
    this.refused = new Counter({
      ...named('refused_total', 'Requests that limits, keys or the guard have refused'),
      labelNames: ['reason']
    })
    gauge('queue_length', 'Requests that wait for a place', sources.queueLength)
    gauge('places_taken', 'Places taken by answers that are being computed', sources.answersActive)
    gauge('connections', 'Open connections', sources.connections)
    collectDefaultMetrics({ register: this.registry })
  }
}
