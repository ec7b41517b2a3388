/** `node --import .../preload.ts`: a process whose links are emulated as SHOAL_WAN says, and then as its parent says. */
import { emulate, profileNamed, type WanProfile } from './index.ts'

const links = emulate(profileNamed(process.env.SHOAL_WAN ?? 'none'))

process.on('message', (message: { readonly wan?: WanProfile } | null) => {
  if (message?.wan !== undefined) links.profile = message.wan
})
process.channel?.unref() // it keeps nobody alive
