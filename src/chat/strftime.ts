const DAYS = ['Sunday', 'Monday', 'Tuesday', 'Wednesday', 'Thursday', 'Friday', 'Saturday']
const MONTHS = [
  ...['January', 'February', 'March', 'April', 'May', 'June', 'July'],
  ...['August', 'September', 'October', 'November', 'December']
]

/** As Python's in English, in local time; what it does not know stays as it is. */
export function strftime(date: Date, format: string): string {
  const two = (value: number): string => String(value).padStart(2, '0')
  const [day, month] = [DAYS[date.getDay()] as string, MONTHS[date.getMonth()] as string]
  const parts: Readonly<Record<string, string>> = {
    ...{ Y: String(date.getFullYear()), y: two(date.getFullYear() % 100), m: two(date.getMonth() + 1) },
    ...{
      d: two(date.getDate()),
      H: two(date.getHours()),
      M: two(date.getMinutes()),
      S: two(date.getSeconds())
    },
    ...{ I: two(date.getHours() % 12 || 12), p: date.getHours() < 12 ? 'AM' : 'PM' },
    ...{ A: day, a: day.slice(0, 3), B: month, b: month.slice(0, 3), '%': '%' }
  }
  return format.replace(/%([a-zA-Z%])/g, (whole, letter: string) => parts[letter] ?? whole)
}
