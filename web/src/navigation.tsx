import type { ReactNode } from 'react'
import type { Page } from './router.ts'
import {
  cx,
  IconButton,
  IconChat,
  IconFish,
  IconMonitor,
  IconMoon,
  IconNode,
  IconSun,
  IconSwarm,
  Link,
  Menu,
  setTheme,
  type Theme,
  useIsDark,
  useTheme
} from './ui/index.ts'

const LINKS = [
  { page: 'chat', to: '/', label: 'Chat', Icon: IconChat },
  { page: 'swarm', to: '/swarm', label: 'Swarm', Icon: IconSwarm },
  { page: 'node', to: '/node', label: 'My node', Icon: IconNode }
] as const

const THEMES: readonly { readonly theme: Theme; readonly label: string; readonly icon: ReactNode }[] = [
  { theme: 'light', label: 'Light', icon: <IconSun /> },
  { theme: 'dark', label: 'Dark', icon: <IconMoon /> },
  { theme: 'system', label: 'As the system', icon: <IconMonitor /> }
]

/** At the side where there is room, at the bottom on phones. */
export function Navigation({ page }: { readonly page: Page | undefined }): ReactNode {
  return (
    <header
      className={cx(
        'flex shrink-0 items-center gap-1 border-line bg-surface px-2 pb-[env(safe-area-inset-bottom)]',
        'border-t md:w-20 md:flex-col md:border-t-0 md:border-r md:py-3'
      )}
    >
      <span className="hidden p-2 text-2xl text-accent md:block">
        <IconFish />
      </span>
      <nav aria-label="Pages" className="grow">
        <ul className="flex justify-around gap-1 md:flex-col">
          {LINKS.map(({ page: target, to, label, Icon }) => (
            <li key={to}>
              <Link
                to={to}
                aria-current={page === target ? 'page' : undefined}
                className={cx(
                  'flex min-h-14 min-w-16 flex-col items-center justify-center gap-0.5 rounded-xl px-1 text-xs font-medium',
                  page === target
                    ? 'text-accent-strong md:bg-tint'
                    : 'text-soft hover:bg-sunken hover:text-ink'
                )}
              >
                <Icon className="size-5.5" />
                {label}
              </Link>
            </li>
          ))}
        </ul>
      </nav>
      <ThemeMenu />
    </header>
  )
}

function ThemeMenu(): ReactNode {
  const theme = useTheme()
  const isDark = useIsDark()
  return (
    <Menu
      label="Theme"
      button={(opener) => (
        <IconButton {...opener} size="md" icon={isDark ? <IconMoon /> : <IconSun />} label="Theme" />
      )}
      items={THEMES.map((choice) => ({
        ...choice,
        isChosen: choice.theme === theme,
        onSelect: () => setTheme(choice.theme)
      }))}
    />
  )
}
