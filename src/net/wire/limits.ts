// Bounds of everything that comes from a peer. Generous against real models, small against memory.

/** A control or info message, encoded. Holds a grammar at its bound and 4,096 biases several times over. */
export const MAX_MESSAGE_BYTES = 1024 * 1024
/** Rows of one frame; engines take a few hundred to a few thousand per step. */
export const MAX_ROWS = 65_536
/** llama.cpp counts positions and token ids in signed 32 bits. */
export const MAX_INT32 = 2 ** 31 - 1
export const MAX_UINT32 = 2 ** 32 - 1
/** The deepest open models have some 130 blocks. */
export const MAX_BLOCKS = 4_096
/** Numbers per row; the widest open models have 16,384. */
export const MAX_WIDTH = 131_072
/** One frame: 2,048 rows of 8,192 numbers. A receiver's own limits are tighter. */
export const MAX_FRAME_BYTES = 64 * 1024 * 1024
/** Session ids and tickets: 128 random bits cannot be guessed. */
export const TICKET_BYTES = 16
export const MAX_GRAMMAR_CHARACTERS = 256 * 1024
/** Texts such as "<tool_call>", one or a few per model. */
export const MAX_GRAMMAR_TRIGGERS = 16
export const MAX_TRIGGER_CHARACTERS = 64
export const MAX_LOGIT_BIASES = 4_096
/** Of each drawn token, as OpenAI's API has at most. */
export const MAX_ALTERNATIVES = 20
export const MAX_ADDRESSES = 16
export const MAX_STAGES = 256
/** That a stage speaks: four are known today. */
export const MAX_CODECS = 16
export const MAX_PEERS = 1_024
/** Frames that one timing message speaks of. */
export const MAX_TIMINGS = 256
/** Of a swarm's directory in one answer: some 10,000 announcements of 400 bytes. */
export const MAX_DIRECTORY_BYTES = 4 * 1024 * 1024
export const MAX_ANNOUNCEMENTS = 20_000
export const MAX_SUMMARIES = 4_096
/** Gossip goes through many hands: a node with 16 stages has some 4 KiB to say. */
export const MAX_GOSSIP_BYTES = 16 * 1024
export const MAX_ANNOUNCED_STAGES = 16
export const MAX_WANTS = 16
export const MAX_TTL_SECONDS = 3_600
export const COORDINATE_DIMENSIONS = 8
/** No way around the earth takes a minute. */
export const MAX_COORDINATE_MS = 60_000
export const SIGNATURE_BYTES = 64
export const MAX_CERTIFICATE_BYTES = 1_024
/** A model's pieces: as many as its manifest may have. */
export const MAX_PIECES = 2 ** 20
/** One message of the piece exchange: a bit for each of the most pieces takes half of it. */
export const MAX_PIECE_MESSAGE_BYTES = 256 * 1024
/** Indices in one message. */
export const MAX_PIECE_INDICES = 4_096
/** Of a piece, at once: 6 ms at 100 Mbit/s, for which a session's frame may have to wait. */
export const MAX_CHUNK_BYTES = 64 * 1024
/** A piece, or a manifest. */
export const MAX_CHUNKED_BYTES = 16 * 1024 * 1024
export const MAX_EXTENSIONS = 16
export const MAX_EXTENSION_BYTES = 1_024
