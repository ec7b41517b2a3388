import { Component, type ReactNode } from 'react'
import { ErrorNotice } from './ui/index.ts'

interface State {
  readonly error?: Error
}

/** A page that fails leaves the others alone. */
export class Boundary extends Component<{ readonly children: ReactNode }, State> {
  override state: State = {}

  static getDerivedStateFromError(error: Error): State {
    return { error }
  }

  override render(): ReactNode {
    const { error } = this.state
    if (error === undefined) return this.props.children
    return (
      <div className="p-4">
        <h1 className="sr-only">This page failed</h1>
        {/* Chunks of a version that was replaced are gone: loading anew brings the new ones. */}
        <ErrorNotice title="This page failed" onRetry={() => location.reload()}>
          {error.message}
        </ErrorNotice>
      </div>
    )
  }
}
