/** What others say, by gossip or in answers: read, checked, limited, and kept. */
import { type Clock, Limits } from '../common/index.ts'
import { type Gossip, type Judge, type SwarmHost, type Verdict, WireError } from '../net/index.ts'
import {
  type Announced,
  isAbout,
  isGoodbye,
  type Notice,
  type Opener,
  SignatureError
} from './announcement.ts'
import type { Applied, Directory } from './directory.ts'
import { Guard } from './guard.ts'
import { AUTHOR } from './limits.ts'
import type { Summaries } from './summaries.ts'
import type { Suspicion } from './suspicion.ts'

export interface IntakeComponents {
  readonly clock: Clock
  readonly network: Pick<SwarmHost, 'cut'> & { readonly peerId: string }
  readonly opener: Opener
  readonly directory: Directory
  readonly summaries: Summaries
  readonly suspicion: Suspicion
  /** Others have an announcement by this node with this sequence. */
  readonly onOwn: (sequence: number) => void
}

export class Intake {
  readonly #components: IntakeComponents
  readonly #guard: Guard
  readonly #authors: Limits

  constructor(components: IntakeComponents) {
    this.#components = components
    this.#guard = new Guard(components.clock, components.network)
    this.#authors = new Limits(components.clock, AUTHOR)
  }

  /** Of messages about this model; of summaries where there is none. */
  judge(model: string | undefined): Judge {
    const hear = (notice: Notice): Verdict => this.#hear(notice, model)
    return (message, from) => {
      if (!this.#guard.admits(from)) return 'ignore'
      const blame = (error: unknown): Verdict => (this.blame(from, error) ? 'reject' : 'ignore')
      let notice: Notice | Promise<Notice>
      try {
        notice = this.#components.opener.read(message)
      } catch (error) {
        return blame(error)
      }
      return notice instanceof Promise ? notice.then(hear, blame) : hear(notice)
    }
  }

  /** Part of a peer's answer. Rejects with what is wrong with it. */
  async open(message: Gossip, from: string): Promise<Notice> {
    try {
      return await this.#components.opener.open(message)
    } catch (error) {
      this.blame(from, error)
      throw error
    }
  }

  isCut(peer: string): boolean {
    return this.#guard.isCut(peer)
  }

  /** What no version of the protocol has counts against who sent it. Whether it was that. */
  blame(peer: string, error: unknown): boolean {
    const isBroken = error instanceof WireError && error.code !== 'VERSION'
    if (!isBroken && !(error instanceof SignatureError)) return false
    this.#guard.garbage(peer, error)
    return true
  }

  /** For the directory. */
  take(announced: Announced, ageSeconds = 0): Applied {
    const { network, onOwn, directory, suspicion } = this.#components
    const { peer, sequence } = announced.announcement
    if (peer === network.peerId) {
      onOwn(sequence)
      return 'stale'
    }
    const applied = directory.apply(announced, ageSeconds)
    if (applied !== 'stale') suspicion.heard(announced)
    return applied
  }

  #hear(notice: Notice, model: string | undefined): Verdict {
    const { summaries, suspicion, directory, network } = this.#components
    if (notice.type === 'summary') {
      return model === undefined ? summaries.hear(notice.summary, notice.sealed) : 'ignore'
    }
    if (model === undefined) return 'ignore'
    if (notice.type === 'announcement') return this.#hearAnnouncement(notice.announced, model)
    const { peer } = notice.withdrawal
    const isAboutIt = peer === network.peerId || directory.get(peer)?.hosts.has(model) === true
    return isAboutIt ? suspicion.hear(notice.withdrawal) : 'ignore'
  }

  #hearAnnouncement(announced: Announced, model: string): Verdict {
    const { directory, suspicion } = this.#components
    const { peer, sequence } = announced.announcement
    const known = directory.get(peer)
    // Said on the topic of another model, too. It is not counted, as anybody may say it again.
    const isLast = directory.lastSequenceOf(peer) === sequence
    if (isLast && (known !== undefined || isGoodbye(announced))) return 'accept'
    // Who has stopped hosting a model says so to its followers.
    const isAboutIt = [announced, known].some((one) => one !== undefined && isAbout(one, model))
    if (!isAboutIt) return 'ignore'
    if (directory.lastSequenceOf(peer) >= sequence) return 'ignore'
    // What is needed to prove a liar wrong is as many as observers may withdraw.
    if (!suspicion.isRefutedBy(announced) && !this.#authors.take(peer)) return 'ignore'
    const applied = this.take(announced)
    return applied === 'stale' || applied === 'limited' ? 'ignore' : 'accept'
  }
}
