// Before anything is painted, so that a dark page never flashes white. A file, since the policy allows no inline scripts.
;(() => {
  let choice = null
  try {
    choice = localStorage.getItem('shoal.theme')
  } catch {
    // no storage: as the system has it
  }
  const isDark =
    choice === 'dark' || (choice !== 'light' && matchMedia('(prefers-color-scheme: dark)').matches)
  document.documentElement.dataset.theme = isDark ? 'dark' : 'light'
})()
