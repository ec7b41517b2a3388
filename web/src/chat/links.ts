/** Where links of a model's answer may lead, and how a person sees where that is. */

/** What does not run anything and leaves this page. */
const SCHEMES = new Set(['http:', 'https:', 'mailto:'])

/** An absolute address; undefined: it leads nowhere that a model may send people to. */
export function safeUrl(url: string | undefined): string | undefined {
  try {
    const { protocol, href } = new URL(url ?? '') // relative ones throw: nothing here is a model's to name
    return SCHEMES.has(protocol) ? href : undefined
  } catch {
    return undefined
  }
}

/** What is shown behind a link: its host as the browser will ask for it (punycode), or the address of a mail. */
export function placeOf(url: string): string {
  const { protocol, host, pathname } = new URL(url)
  return protocol === 'mailto:' ? decodeURI(pathname) : host
}

/** Whether a link's text says by itself where it leads: it is the address, whole. */
export function tellsItsPlace(text: string, url: string): boolean {
  const bare = (address: string): string => address.replace(/^(https?:\/\/|mailto:)/, '').replace(/\/$/, '')
  return bare(text.trim()) === bare(url)
}
