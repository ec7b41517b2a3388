/** The formats of JSON Schema as patterns. */

const HEX = '[0-9a-f]'
const DAY =
  '(?:(?:0[13578]|1[02])-(?:0[1-9]|[12]\\d|3[01])|(?:0[469]|11)-(?:0[1-9]|[12]\\d|30)|02-(?:0[1-9]|1\\d|2[0-8]))'
const DATE = `[12]\\d{3}-${DAY}`
const TIME = '(?:[01]\\d|2[0-3]):[0-5]\\d:[0-5]\\d(?:\\.\\d{1,6})?Z'
const BYTE = '(?:25[0-5]|2[0-4]\\d|1\\d\\d|[1-9]?\\d)'
const LABEL = '[a-z0-9](?:[a-z0-9-]{0,20}[a-z0-9])?'
const HOST = `(?:${LABEL}\\.){1,4}[a-z]{2,10}`

/** What is drawn for a format is some of what it allows: no leap days, times in UTC, addresses in small letters. */
export const FORMATS: Readonly<Record<string, string>> = {
  date: `^${DATE}$`,
  time: `^${TIME}$`,
  'date-time': `^${DATE}T${TIME}$`,
  duration: '^P(?:\\d{1,4}W|\\d{1,4}D(?:T\\d{1,4}H)?|T\\d{1,4}[HMS])$',
  uuid: `^${HEX}{8}-${HEX}{4}-[1-5]${HEX}{3}-[89ab]${HEX}{3}-${HEX}{12}$`,
  ipv4: `^(?:${BYTE}\\.){3}${BYTE}$`,
  ipv6: `^(?:${HEX}{1,4}:){7}${HEX}{1,4}$`,
  email: `^[a-z0-9]+(?:[._-][a-z0-9]+){0,4}@${HOST}$`,
  hostname: `^${HOST}$`,
  uri: `^https?://${HOST}(?:/[A-Za-z0-9._~-]{0,64}){0,8}$`
}
