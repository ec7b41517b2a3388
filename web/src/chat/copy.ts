import { toast } from '../ui/index.ts'

/** Whether it is in the clipboard now. On origins that are not secure browsers have the older way only. */
export async function copy(text: string): Promise<boolean> {
  const isCopied = await (navigator.clipboard?.writeText(text) ?? Promise.reject(new Error('none'))).then(
    () => true,
    () => copyBySelection(text)
  )
  if (!isCopied) toast('This browser does not let the page copy: select the text instead.', { isError: true })
  return isCopied
}

function copyBySelection(text: string): boolean {
  const area = document.createElement('textarea')
  const focused = document.activeElement
  area.value = text
  area.className = 'sr-only'
  document.body.append(area)
  area.select()
  const isCopied = document.execCommand('copy')
  area.remove()
  if (focused instanceof HTMLElement) focused.focus()
  return isCopied
}
