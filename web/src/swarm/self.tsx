import type { ReactNode } from 'react'
import type { SwarmReport } from '../api/swarm.ts'
import { Fact } from '../ui/fact.tsx'
import { plural, sentence } from '../units.ts'

const KINDS: Readonly<Record<string, string>> = {
  local: 'this network only',
  public: 'the public swarm',
  private: 'a private swarm'
}

/** The node that this is seen from. */
export function Self({
  self,
  known
}: {
  readonly self: SwarmReport['self']
  readonly known: number
}): ReactNode {
  const { swarm } = self
  return (
    <>
      <dl className="flex flex-wrap gap-x-8 gap-y-3">
        <Fact label="Swarm" note={swarm.name === undefined ? undefined : KINDS[swarm.kind]}>
          {swarm.name ?? KINDS[swarm.kind] ?? swarm.kind}
        </Fact>
        <Fact label="Nodes known">{known}</Fact>
        <Fact label="Connected to">{self.peers}</Fact>
        <Fact label="Version">{self.version}</Fact>
      </dl>
      <p className="text-sm text-soft">
        Seen from <span className="font-mono">{self.peer}</span>, which computes for{' '}
        {plural(self.sessions, 'session')} of others. {sentence(self.placement)}
      </p>
    </>
  )
}
