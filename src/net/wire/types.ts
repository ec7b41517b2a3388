// The plain, checked data that the rest of Shoal sees of the wire. PROTOCOL.md says what each message means.

/** What all stages of a chain must agree on, or their hidden states would not fit together. */
export interface Profile {
  kvTypeK: string
  kvTypeV: string
  flashAttention: boolean
  /** How hidden states are written in frames: a stage's own, `f32`; in `open` the consumer's choice for the session. */
  codec: string
  /** Contexts beyond the trained one use other rope factors, where the model has them. */
  longContext: boolean
}

/** Don't-repeat-yourself sampling; off when `multiplier` is 0. */
export interface DryOptions {
  multiplier: number
  base: number
  allowedLength: number
  penaltyLastN: number
  breakers: string[]
}

/** How the tail draws tokens, in llama.cpp's terms. */
export interface SamplerOptions {
  temperature: number
  topK: number
  topP: number
  minP: number
  /** Tokens that the penalties look back on; -1 for the whole context. */
  penaltyLastN: number
  repeatPenalty: number
  frequencyPenalty: number
  presencePenalty: number
  dry?: DryOptions
  logitBias: { token: number; bias: number }[]
  /** The draw at position p is a function of (seed, p). 0 .. 2^32 - 1. */
  seed: number
  /** GBNF; empty for none. */
  grammar: string
  /** The grammar begins where one of these texts does, once it has been drawn. Absent: with the first token. */
  grammarTriggers?: string[] | undefined
  /** Position of the first generated token, where the grammar begins, or triggers are looked for. */
  generatedFrom: number
  /** Tell how likely each drawn token was, and so many of the most likely ones: 0 to 20. Absent: nothing. */
  alternatives?: number | undefined
  /** Counts up when the consumer wants others: draws say by which sampler they are. */
  version?: number | undefined
}

/** The hop that a stage sends its hidden states to. */
export interface NextHop {
  peer: string
  addresses: string[]
  /** 16 random bytes that the data stream to it begins with. */
  ticket: Uint8Array
}

/** Consumer to stage, the first message: compute blocks [start, end) of the model for this session. */
export interface Open {
  type: 'open'
  /** 16 bytes. */
  session: Uint8Array
  /** The model's id: 64 hexadecimal digits. */
  model: string
  start: number
  end: number
  /** This hop is the tail: it has the head and samples. */
  head: boolean
  profile: Profile
  /** 16 bytes that the data stream from the hop before has to present. */
  ticketIn: Uint8Array
  next?: NextHop
  /** Positions of KV cache to reserve. */
  reserve: number
  sampler?: SamplerOptions
}

/** Stage to consumer: the session is open. */
export interface Opened {
  type: 'opened'
  /** Most rows that a frame to this stage may have. */
  maxRows: number
  /** Most positions that the session may reach on this stage. */
  capacity: number
  /** The version of the tail's sampler. */
  sampler?: number | undefined
}

export const REFUSAL_CODES = [
  'model',
  'span',
  'profile',
  'full',
  'engine',
  'ticket',
  'input',
  'next',
  'busy',
  'stopping',
  'session',
  'idle',
  'codec'
] as const

/** Why a stage gives up a session; other strings than {@link REFUSAL_CODES} may come from newer peers. */
export type RefusalCode = (typeof REFUSAL_CODES)[number]

/** Stage to consumer: it does not open the session, or gives it up. */
export interface Refused {
  type: 'refused'
  code: string
  message: string
}

/** Stage to consumer: a frame did not fit; the stage holds `length` positions in this epoch. */
export interface Need {
  type: 'need'
  epoch: number
  length: number
}

/**
 * How likely a token was: the natural logarithm of the softmax of the model's logits, before temperature, penalties, bias
 * and grammar.
 */
export interface TokenLog {
  token: number
  log: number
}

/** Of a drawn token. */
export interface DrawLog {
  log: number
  /** The most likely tokens, most likely first. */
  alternatives: TokenLog[]
}

/** Tail to consumer: what it drew. */
export interface Tokens {
  type: 'tokens'
  epoch: number
  /** Position of the row whose logits gave the first token; each next token belongs to the next row. */
  position: number
  tokens: number[]
  /** One for each token, where the sampler has `alternatives`. */
  logs?: DrawLog[] | undefined
  /** The version of the sampler that they were drawn by. */
  sampler?: number | undefined
}

/** What one frame took at one stage. */
export interface FrameTiming {
  epoch: number
  position: number
  rows: number
  queueMicroseconds: number
  computeMicroseconds: number
  bytesIn: number
  bytesOut: number
}

/** Stage to consumer, now and then: the frames since the last such message, each once. */
export interface Timing {
  type: 'timing'
  frames: FrameTiming[]
}

/** Consumer to stage: done, free everything. */
export interface Close {
  type: 'close'
}

export interface Ping {
  type: 'ping'
  /** Echoed in the pong. 0 .. 2^53 - 1. */
  nonce: number
}

/** Stage to consumer: it lives, and where the session stands. */
export interface Pong {
  type: 'pong'
  nonce: number
  epoch: number
  /** Positions admitted, from 0. */
  length: number
  /** Of these, computed and handed on (or kept for a next hop that is away). */
  computed: number
  /** Bytes that have come on the data stream from the hop before: whether a slow link moves. */
  receivedBytes: number
  /** What the stage expects its next step to take. */
  stepMicroseconds: number
}

/** Consumer to stage, the first message on a new stream: the stream before was lost, the session goes on. */
export interface Resume {
  type: 'resume'
  /** As in {@link Open}. */
  session: Uint8Array
  /** The tail says again what it drew from rows at this position and later. */
  drawFrom: number
}

/** Consumer to stage: a neighbour has been replaced. */
export interface Rewire {
  type: 'rewire'
  /** What the new hop before will present. */
  ticketIn?: Uint8Array
  /** The new next hop: it gets whatever it lacks of what was ever sent. */
  next?: NextHop
  /** Rows before this position are sent again without asking for draws. */
  drawFrom: number
}

/** Stage to consumer: the next hop has accepted this ticket. */
export interface Linked {
  type: 'linked'
  ticket: Uint8Array
}

/** Stage to consumer: there is no way to the next hop with this ticket. The session goes on, and waits. */
export interface Unlinked {
  type: 'unlinked'
  ticket: Uint8Array
  message: string
}

/** Consumer to stage: reserve positions up to this. */
export interface Extend {
  type: 'extend'
  reserve: number
}

/** Stage to consumer: they are reserved. Without room the session is refused with `full`. */
export interface Extended {
  type: 'extended'
  capacity: number
}

/** Consumer to tail: draw otherwise from the next row on that it gets. */
export interface Resample {
  type: 'resample'
  sampler: SamplerOptions
}

/** Stage to consumer: this node is about to leave; it serves until the session has moved. */
export interface Leaving {
  type: 'leaving'
}

export type ControlMessage =
  | Open
  | Opened
  | Refused
  | Need
  | Tokens
  | Timing
  | Close
  | Ping
  | Pong
  | Resume
  | Rewire
  | Linked
  | Unlinked
  | Extend
  | Extended
  | Resample
  | Leaving

/** One span that a node has loaded. */
export interface StageInfo {
  /** The model's id: 64 hexadecimal digits. */
  model: string
  name: string
  architecture: string
  start: number
  end: number
  blockCount: number
  /** Numbers in one row of hidden state. */
  width: number
  /** It has the output head and can be the tail. */
  head: boolean
  /** It has the token embeddings. */
  embedding: boolean
  profile: Profile
  /** What its frames may be written in. Absent: only what its profile says. */
  codecs?: readonly string[] | undefined
  context: number
  maxRows: number
  /** Counted by who decides what to host, not to be used yet. Absent: ready. */
  state?: 'loading' | undefined
  speed?: Speed | undefined
  /** Most sessions at once. */
  sessions?: number | undefined
  /** Sessions opened per minute lately, rounded coarsely so that it rarely changes. */
  demand?: number | undefined
}

/** What a stage was measured to take, through all of its blocks. */
export interface Speed {
  /** One row of one session. */
  decodeMicroseconds: number
  /** Each row of a prompt, in frames of many rows. */
  prefillMicroseconds: number
}

export interface PeerAddress {
  peer: string
  addresses: string[]
}

/** What a node says about itself when asked. */
export interface Info {
  version: string
  stages: StageInfo[]
  addresses: string[]
  /** Others it knows of. */
  peers: PeerAddress[]
}

/** Which rows the tail draws a token for. */
export type SampleMode = 'none' | 'last' | 'all'

/** How hidden states are written: as they are, in 16 bits each, or in blocks of 32 with a scale. */
export type RowCodec = 'f32' | 'f16' | 'bf16' | 'q8'

/** How a frame's payload is written: `none` has token ids only. */
export type FrameCodec = 'none' | RowCodec

/** Rows at a position of a session. */
export interface Frame {
  epoch: number
  /** Of the row before the first one, 0 where there is none: who has missed how it came about lacks rows. */
  follows: number
  /** Position of the first row. */
  position: number
  /** One id per row. */
  tokens: Int32Array
  sample: SampleMode
  codec: FrameCodec
  /** Row-major, 4-byte aligned after decoding; empty for codec `none`. */
  payload: Uint8Array
}

/** What the receiving end of a data stream has, and takes: its answer to a ticket. */
export interface Accepted {
  /** It has positions [0, length) as of this epoch. */
  epoch: number
  length: number
  /** Most rows per frame. */
  maxRows: number
}

/** What a receiver accepts in one frame. */
export interface FrameLimits {
  /** Numbers per row of a payload. */
  width: number
  maxRows: number
}

/** A place in the network whose distance to others predicts round trips (Vivaldi); all in milliseconds. */
export interface Coordinate {
  /** Euclidean part: 8 numbers. */
  vector: number[]
  /** The way to the core of the network and back, which every round trip has: at least 0. */
  height: number
  /** Added to predictions, for what the model can't express; may be negative. */
  adjustment: number
  /** How far to trust it: 0 is certain, 1.5 knows nothing. */
  error: number
}

/** A signed payload; who signed it is said inside. */
export interface Sealed {
  payload: Uint8Array
  /** 64 bytes, Ed25519. */
  signature: Uint8Array
}

/** What a node says about itself to everybody. */
export interface Announcement {
  peer: string
  /** A later one replaces an earlier one: milliseconds since 1970 when it was made, or one more than the last. */
  sequence: number
  /** It is forgotten after this time without a later one. */
  ttlSeconds: number
  version: string
  addresses: string[]
  stages: StageInfo[]
  /** Models that it waits for: their demand where nobody can serve it. */
  wants: string[]
  coordinate?: Coordinate | undefined
  /** Private swarms: that this peer may take part. Empty: none. */
  certificate: Uint8Array
  /** What newer nodes add. */
  extensions: Record<string, Uint8Array>
}

/** An observer says that a node is dead. Believed only where the node does not prove that it lives. */
export interface Withdrawal {
  peer: string
  /** Of the announcement that it withdraws; a later one is not touched. */
  sequence: number
  observer: string
  /** Milliseconds since 1970. */
  at: number
}

/** What somebody who follows a model says about it to those who don't: a hint, not a proof. */
export interface ModelSummary {
  model: string
  name: string
  architecture: string
  blockCount: number
  /** Nodes that hold each block, 255 for more. */
  holders: Uint8Array
  nodes: number
  /** Sessions opened per minute. */
  demand: number
  observer: string
  /** Milliseconds since 1970. */
  at: number
}

export type Gossip =
  | ({ type: 'announcement' } & Sealed)
  | ({ type: 'withdrawal' } & Sealed)
  | ({ type: 'summary' } & Sealed)

/** How busy a stage is; asked for, since gossip would be old by the time it is read. */
export interface StageLoad {
  model: string
  start: number
  end: number
  freeSessions: number
  freePositions: number
  /** What a new session's row would wait for before its step. */
  waitMicroseconds: number
  /** What a step takes with those who are there now. */
  stepMicroseconds: number
}

export type SwarmRequest =
  /** All that it knows of these models; of all models where none is named. */
  | { type: 'directory'; models: string[] }
  /** Its own newest announcement. */
  | { type: 'probe' }
  | { type: 'load'; model: string }
  /** Private swarms: host this, if you are willing. */
  | { type: 'assign'; model: string; start: number; end: number }
  /** Private swarms: a newcomer shows the grant of its invitation. */
  | { type: 'admit'; grant: Sealed }

export interface AgedAnnouncement {
  sealed: Sealed
  /** Since its sender made it, as far as the answering node knows. */
  ageSeconds: number
}

export type SwarmAnswer =
  | { type: 'directory'; announcements: AgedAnnouncement[]; summaries: Sealed[] }
  | { type: 'probe'; announcement?: Sealed | undefined; coordinate?: Coordinate | undefined }
  | { type: 'load'; stages: StageLoad[]; coordinate?: Coordinate | undefined }
  | { type: 'assign'; accepted: boolean; message: string }
  /** An empty certificate: not admitted, for the reason in `message`. */
  | { type: 'admit'; certificate: Uint8Array; message: string }
  | { type: 'refused'; code: string; message: string }

export type PieceMessage =
  /** The opener's first message: the model's id, and which of its pieces it has, piece 0 in the highest bit. */
  | { type: 'open'; model: string; pieces: Uint8Array }
  /** The other side's first: which pieces it has. */
  | { type: 'opened'; pieces: Uint8Array }
  /** Instead of `open`, by who has no manifest: one document, and the stream ends. */
  | { type: 'get'; model: string; document: 'manifest' | 'listing' }
  /** It comes, in chunks of index 0. */
  | { type: 'document'; byteLength: number }
  | { type: 'refused'; code: string; message: string }
  /** The other side has pieces that the sender lacks and wants; or no longer. */
  | { type: 'interested' }
  | { type: 'uninterested' }
  /** The sender takes no requests from the other side; it does. */
  | { type: 'choke' }
  | { type: 'unchoke' }
  /** The sender has these, too. */
  | { type: 'have'; indices: number[] }
  | { type: 'request'; indices: number[] }
  | { type: 'cancel'; indices: number[] }
  /** Requested, and will not come. */
  | { type: 'reject'; indices: number[] }

/** Some bytes of a piece. Those of one piece come in order and without gaps. */
export interface PieceChunk {
  type: 'chunk'
  index: number
  /** From the piece's start. */
  offset: number
  /** Valid until the listener returns. */
  bytes: Uint8Array
}
