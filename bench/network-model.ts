/**
 * A network of homes and data centres all over the world, made up from published measurements. A round trip is
 *
 *     access(a) + access(b) + distance / (100 km/ms) x inflation + detour, and jitter anew each time
 *
 * - **Distance**: great circle; light in fibre goes 200 km per ms, there and back.
 * - **Inflation** is lognormal with median 1.6, in one part for each pair of regions (deviation 0.2: from Europe to
 *   Asia everybody pays more than 2), in another for each pair of nodes (0.15), and at least 1.2. From two public
 *   tables of ten cities each (IBM Cloud's inter-region latency, August 2024; WonderProxy's "Miles per millisecond",
 *   2011): medians 1.5 and 1.7 after 5 ms of detour, deviations 0.23 in all, 0.12 within a pair of regions, where both
 *   ends are with one provider. Bozkurt et al. ("Dissecting latency in the Internet's fiber infrastructure", 2018) give
 *   2.1 as a rule of thumb, detours included.
 * - **Detour**: to an exchange that both networks are at; exponential, mean 5 ms, from the tables' short links (Osaka
 *   to Tokyo 3 ms more than 1.5 x distance, Frankfurt to London 3, Toronto to Washington 11, Milan to Zurich 8).
 *   2 % go by another continent, with 100 ms more in the mean (2 of WonderProxy's 45 do).
 * - **Access**: fibre below cable, cable as VDSL, interleaved ADSL well above, as in the FCC's "Measuring Broadband
 *   America" and in Bajpai et al., "Dissecting last-mile latency characteristics", CCR 2017. The shares are a guess.
 * - **Jitter**: exponential, by access. 3 % of the samples wait in a full buffer, 80 ms in the mean. A guess.
 *
 * How well this fits: of 250 such nodes' links 62 % have a shorter way through a third node, and 24 % one that is 20 %
 * shorter. Ledlie et al. ("Network coordinates in the wild", NSDI 2007) found 68 to 85 %, and 22 to 37 %.
 */
import { gaussian, type Random, randomOf } from '../test/models/random.ts'

/** Latitude, longitude. Regions are those whose traffic takes the same cables. */
const REGIONS: Readonly<Record<string, string>> = {
  'North America':
    'New York 40.7 -74.0, Boston 42.4 -71.1, Washington 38.9 -77.0, Atlanta 33.7 -84.4, Miami 25.8 -80.2, ' +
    'Chicago 41.9 -87.6, Dallas 32.8 -96.8, Denver 39.7 -105.0, Los Angeles 34.1 -118.2, ' +
    'San Francisco 37.8 -122.4, Seattle 47.6 -122.3, Toronto 43.7 -79.4, Montreal 45.5 -73.6, ' +
    'Vancouver 49.3 -123.1, Mexico City 19.4 -99.1',
  Europe:
    'London 51.5 -0.1, Paris 48.9 2.4, Amsterdam 52.4 4.9, Frankfurt 50.1 8.7, Berlin 52.5 13.4, Munich 48.1 11.6, ' +
    'Zurich 47.4 8.5, Milan 45.5 9.2, Madrid 40.4 -3.7, Lisbon 38.7 -9.1, Dublin 53.3 -6.3, Stockholm 59.3 18.1, ' +
    'Copenhagen 55.7 12.6, Helsinki 60.2 24.9, Warsaw 52.2 21.0, Vienna 48.2 16.4, Prague 50.1 14.4, ' +
    'Bucharest 44.4 26.1, Kyiv 50.5 30.5, Athens 38.0 23.7, Istanbul 41.0 29.0, Moscow 55.8 37.6',
  'Middle East': 'Tel Aviv 32.1 34.8, Dubai 25.2 55.3',
  India: 'Mumbai 19.1 72.9, Bangalore 13.0 77.6',
  'South East Asia': 'Singapore 1.4 103.8, Jakarta -6.2 106.8, Bangkok 13.8 100.5',
  'East Asia':
    'Hong Kong 22.3 114.2, Taipei 25.0 121.6, Seoul 37.6 127.0, Tokyo 35.7 139.7, Osaka 34.7 135.5, Shanghai 31.2 121.5',
  'South America': 'Sao Paulo -23.6 -46.6, Buenos Aires -34.6 -58.4, Santiago -33.4 -70.7, Bogota 4.7 -74.1',
  Oceania: 'Sydney -33.9 151.2, Melbourne -37.8 145.0, Auckland -36.8 174.8',
  Africa: 'Johannesburg -26.2 28.0, Lagos 6.5 3.4, Cairo 30.0 31.2'
}

/** Of the least round trip and of its mean jitter at one end, in milliseconds. */
const FIBRE = { share: 0.4, least: 2, most: 8, jitter: 0.5 }
const CABLE = { share: 0.3, least: 8, most: 18, jitter: 2 }
const DSL = { share: 0.15, least: 10, most: 40, jitter: 1.5 }
const DATA_CENTRE = { share: 0.1, least: 0.3, most: 1, jitter: 0.2 }
const MOBILE = { share: 0.05, least: 25, most: 60, jitter: 8 }
const ACCESS = [FIBRE, CABLE, DSL, DATA_CENTRE, MOBILE]

const EARTH_RADIUS_KM = 6371
const KM_PER_MS = 100
const INFLATION = { median: 1.6, ofRegions: 0.2, ofNodes: 0.15, least: 1.2 }
const DETOUR_MS = 5
const MISROUTED = { share: 0.02, ms: 100 }
const FULL_BUFFER = { share: 0.03, ms: 80 }

interface City {
  readonly region: string
  readonly latitude: number
  readonly longitude: number
}

const CITIES = Object.entries(REGIONS).flatMap(([region, cities]) =>
  cities.split(', ').map((city): City => {
    const [latitude, longitude] = city.split(' ').slice(-2).map(Number) as [number, number]
    return { region, latitude, longitude }
  })
)

interface Site extends City {
  readonly accessMs: number
  readonly jitterMs: number
}

/** Links are worked out when they are asked for, always the same for a seed: there is no table of all pairs. */
export class NetworkModel {
  readonly #seed: string
  readonly #sites: readonly Site[]

  constructor(nodes: number, seed: string) {
    this.#seed = seed
    const random = randomOf(seed)
    this.#sites = Array.from({ length: nodes }, () => {
      const city = CITIES[Math.floor(random() * CITIES.length)] as City
      return { ...city, ...accessOf(random) }
    })
  }

  /** What a round trip usually takes: with mean jitter, without full buffers. */
  rttMs(a: number, b: number): number {
    const [one, other] = this.#ends(a, b)
    return a === b ? 0 : this.#leastMs(a, b) + one.jitterMs + other.jitterMs
  }

  /** A round trip measured now. */
  sampleMs(a: number, b: number, random: Random): number {
    const [one, other] = this.#ends(a, b)
    const jitter = exponential(random, one.jitterMs) + exponential(random, other.jitterMs)
    const buffer = random() < FULL_BUFFER.share ? exponential(random, FULL_BUFFER.ms) : 0
    return this.#leastMs(a, b) + jitter + buffer
  }

  #leastMs(a: number, b: number): number {
    const [one, other] = this.#ends(a, b)
    const random = randomOf(`${this.#seed} ${Math.min(a, b)} ${Math.max(a, b)}`)
    const regions = [one.region, other.region].sort()
    const regional = gaussian(randomOf(`${this.#seed} ${regions.join(' to ')}`))
    const spread = Math.exp(INFLATION.ofRegions * regional + INFLATION.ofNodes * gaussian(random))
    const inflation = Math.max(INFLATION.least, INFLATION.median * spread)
    const detour = exponential(random, DETOUR_MS)
    const misrouted = random() < MISROUTED.share ? exponential(random, MISROUTED.ms) : 0
    return (
      one.accessMs + other.accessMs + (distanceKm(one, other) / KM_PER_MS) * inflation + detour + misrouted
    )
  }

  #ends(a: number, b: number): [Site, Site] {
    return [this.#sites[a] as Site, this.#sites[b] as Site]
  }
}

function accessOf(random: Random): { accessMs: number; jitterMs: number } {
  let left = random()
  const kind = ACCESS.find(({ share }) => {
    left -= share
    return left < 0
  })
  const { least, most, jitter } = kind ?? FIBRE
  return { accessMs: least + (most - least) * random(), jitterMs: jitter }
}

function exponential(random: Random, mean: number): number {
  return -mean * Math.log(1 - random())
}

/** Haversine. */
function distanceKm(a: City, b: City): number {
  const radians = (degrees: number): number => (degrees * Math.PI) / 180
  const north = Math.sin(radians(b.latitude - a.latitude) / 2) ** 2
  const east = Math.sin(radians(b.longitude - a.longitude) / 2) ** 2
  const shrunk = Math.cos(radians(a.latitude)) * Math.cos(radians(b.latitude)) * east
  return 2 * EARTH_RADIUS_KM * Math.asin(Math.sqrt(north + shrunk))
}
