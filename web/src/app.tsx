import { QueryClient, QueryClientProvider } from '@tanstack/react-query'
import { type ComponentType, lazy, type ReactNode, Suspense, useEffect, useRef } from 'react'
import { Boundary } from './boundary.tsx'
import { Navigation } from './navigation.tsx'
import { FirstRun } from './node/first-run.tsx'
import { type Page, pageAt, usePath } from './router.ts'
import { EmptyState, IconFish, Link, Spinner, Toasts } from './ui/index.ts'

const PAGES: Readonly<Record<Page, { readonly title: string; readonly View: ComponentType }>> = {
  chat: { title: 'Chat', View: lazy(() => import('./chat/page.tsx').then((m) => ({ default: m.ChatPage }))) },
  swarm: {
    title: 'Swarm health',
    View: lazy(() => import('./swarm/page.tsx').then((m) => ({ default: m.SwarmPage })))
  },
  node: {
    title: 'My node',
    View: lazy(() => import('./node/page.tsx').then((m) => ({ default: m.NodePage })))
  },
  start: {
    title: 'Welcome',
    View: lazy(() => import('./node/start-page.tsx').then((m) => ({ default: m.StartPage })))
  }
}

const queries = new QueryClient({
  defaultOptions: { queries: { retry: 1, refetchOnWindowFocus: false, staleTime: 5_000 } }
})

/** The frame of all pages. */
export function App(): ReactNode {
  const page = pageAt(usePath())
  const main = useRef<HTMLElement>(null)
  const shown = useRef(page)
  const title = page === undefined ? 'Nothing here' : PAGES[page].title
  useEffect(() => {
    document.title = `${title} · Shoal`
    // As a browser does when it loads a page; not the first time, when it has done so itself.
    if (shown.current !== page) main.current?.focus({ preventScroll: true })
    shown.current = page
  }, [title, page])
  const View = page === undefined ? NothingHere : PAGES[page].View
  return (
    <QueryClientProvider client={queries}>
      <div className="flex h-dvh flex-col-reverse md:flex-row">
        <a
          href="#main"
          className="sr-only z-50 rounded-lg bg-accent text-on-accent focus:not-sr-only focus:absolute focus:top-2 focus:left-2 focus:px-4 focus:py-2"
        >
          Skip to content
        </a>
        {page === 'chat' && <FirstRun />}
        <Navigation page={page} />
        <main
          id="main"
          ref={main}
          tabIndex={-1}
          className="relative min-h-0 min-w-0 grow overflow-y-auto outline-none"
        >
          <Boundary key={page}>
            <Suspense fallback={<Spinner label="Loading" className="p-6 text-soft" />}>
              <View />
            </Suspense>
          </Boundary>
        </main>
        <Toasts />
      </div>
    </QueryClientProvider>
  )
}

function NothingHere(): ReactNode {
  return (
    <>
      <h1 className="sr-only">Nothing here</h1>
      <EmptyState icon={<IconFish />} title="There is no page here">
        <Link to="/" className="text-accent underline">
          Back to the chat
        </Link>
      </EmptyState>
    </>
  )
}
