import type { ReactNode } from 'react'
import type { SwarmReport } from '../api/swarm.ts'
import { Fact } from '../ui/fact.tsx'
import { Badge, type Tone } from '../ui/index.ts'
import { plural, sentence } from '../units.ts'

const KINDS: Readonly<Record<string, string>> = {
  local: 'this network only',
  public: 'the public swarm',
  private: 'a private swarm'
}

const REACHED: Readonly<Record<NonNullable<SwarmReport['self']['reachability']>, string>> = {
  reachable: 'by all',
  relayed: 'through others',
  blocked: 'by nobody',
  local: 'on this machine'
}
type StepState = NonNullable<SwarmReport['self']['join']>[number]['state']
const STEPS: Readonly<Record<StepState, Tone>> = {
  off: 'plain',
  waiting: 'accent',
  done: 'good',
  failed: 'bad'
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
        {self.reachability !== undefined && <Fact label="Reached">{REACHED[self.reachability]}</Fact>}
        <Fact label="Version">{self.version}</Fact>
      </dl>
      <p className="text-sm text-soft">
        Seen from <span className="font-mono">{self.peer}</span>, which computes for{' '}
        {plural(self.sessions, 'session')} of others. {sentence(self.placement)}
      </p>
      {self.join !== undefined && (
        <ul aria-label="Ways to find others" className="flex flex-wrap gap-x-4 gap-y-1 text-sm">
          {self.join.map(({ name, state }) => (
            <li key={name}>
              {name} <Badge tone={STEPS[state]}>{state}</Badge>
            </li>
          ))}
        </ul>
      )}
      {self.updated !== undefined && (
        <p className="text-sm text-soft">
          It heard something new last at{' '}
          <time dateTime={self.updated}>{new Date(self.updated).toLocaleTimeString()}</time>.
        </p>
      )}
    </>
  )
}
